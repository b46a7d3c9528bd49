"""What the learner has answered so far, in one JSON file among the user's data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch

from folio.config import Count, Settings, Whole, from_table, to_table
from folio.errors import UserError
from folio.files import read_json, write_file
from folio.lecture.quiz import Question

FORMAT = 1
ANEW = "Remove it to begin anew."


def progress_file() -> Path:
    """Return the file of the user's progress, beside the data that folio downloads."""
    return Path(pooch.os_cache("folio")) / "quiz.json"


@dataclass(frozen=True, kw_only=True)
class Tries(Settings):
    """How often a question was answered, how often right, and whether it was missed the last time."""

    answered: Count
    right: Whole
    is_missed: bool


class Progress:
    """The answers to all quizzes. Each is written as soon as it is given, so that nothing is lost, however a quiz ends."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._unwritten: dict[str, dict[str, Tries]] = {}

    def of(self, page: str) -> Mapping[str, Tries]:
        """Return the tries of each question of a page that was answered, by its id.

        Raises UserError where the file is damaged.
        """
        return self._read().get(page, {})

    def add(self, page: str, question: str, is_right: bool) -> None:
        """Write down an answer. Raises WriteError where the file cannot be written; it is remembered all the same."""
        pages = self._read()  # anew, since another quiz may be open
        before = pages.get(page, {}).get(question)
        record = Tries(
            answered=1 + (before.answered if before else 0),
            right=int(is_right) + (before.right if before else 0),
            is_missed=not is_right,
        )
        pages.setdefault(page, {})[question] = record
        self._unwritten.setdefault(page, {})[question] = record
        tables = {
            name: {key: to_table(each) for key, each in records.items()} for name, records in pages.items()
        }
        write_file(self.file, (json.dumps({"format": FORMAT, "pages": tables}, indent=1) + "\n").encode())
        self._unwritten = {}

    def _read(self) -> dict[str, dict[str, Tries]]:
        """Return what the file holds, and what could not be written to it."""
        pages: dict[str, dict[str, Tries]] = {}
        if self.file.exists():
            content = read_json(self.file, ANEW)
            if content.get("format") != FORMAT:
                raise UserError(f"{self.file} is of another version of folio, or damaged. {ANEW}")
            for page, records in _table(content.get("pages"), self.file).items():
                pages[page] = {
                    question: from_table(Tries, _table(record, self.file), f"{self.file}: {page}: {question}")
                    for question, record in _table(records, self.file).items()
                }
        for page, unwritten in self._unwritten.items():
            pages[page] = pages.get(page, {}) | unwritten
        return pages


def seed_of(question: Question, tries: Mapping[str, Tries]) -> str:
    """Return a seed that changes with each try, so that nobody learns the letter of an answer."""
    return str(tries[question.id].answered) if question.id in tries else "0"


def in_order(questions: Sequence[Question], tries: Mapping[str, Tries]) -> list[Question]:
    """Return the questions that were missed, then those that were never answered, then the others."""
    missed = [each for each in questions if each.id in tries and tries[each.id].is_missed]
    new = [each for each in questions if each.id not in tries]
    return [*missed, *new, *(each for each in questions if each not in missed and each not in new)]


def _table(value: Any, file: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{file} is damaged: a table is missing. {ANEW}")
    return value
