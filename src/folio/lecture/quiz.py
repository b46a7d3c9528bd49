"""The quizzes of the lecture's pages: questions with the reasons for their answers, in a TOML file beside each page."""

from __future__ import annotations

import dataclasses
import math
import random
import re
import string
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

import annotated_types as bounds

from folio.config import Fraction, NonNegative, Settings, from_table
from folio.errors import UserError, parsing

PAGES = Path(str(resources.files("folio"))) / "lecture" / "pages"
SUFFIX = ".quiz.toml"
ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MOST_OPTIONS = 5
NUMBER = re.compile(r"[-+]?(\d+|\d{1,3}(,\d{3})+)?(\.\d*)?(e[-+]?\d+)?")
"""Digits, with or without commas between thousands. A comma is never a decimal point: 1,500 would have two meanings."""

Value = Annotated[float, bounds.Ge(-1e12), bounds.Le(1e12)]
Kind = TypeVar("Kind", bound="Question")


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and what to tell whoever gave it."""

    is_right: bool
    words: str


@dataclass(frozen=True)
class Computed:
    """A number that was computed from a run, and how, as a sentence. given: what to show with the question, or ""."""

    value: float
    working: str
    given: str = ""


@dataclass(frozen=True)
class Option:
    """An answer to choose. words: the reason if it is right, else the misconception behind it."""

    answer: str
    words: str


@dataclass(frozen=True)
class Chosen:
    """Answers that were computed from a run, one of them right. given: what to show with the question, or ""."""

    right: Option
    wrong: Sequence[Option]
    given: str = ""


Compute = Callable[[str], Computed | Chosen]
"""Computes the formula with this name for the learner's run."""


class Asked(Protocol):
    """A question that is ready to be asked: its options, if it has any, and what judges an answer."""

    @property
    def given(self) -> str:
        """What the question is about and its text does not have, such as a line of the learner's own data, or ""."""

    @property
    def options(self) -> Sequence[str]:
        """What there is to choose from, in order: the first is a, the second b."""

    def judge(self, typed: str) -> Verdict:
        """Return the verdict on an answer. Raises ValueError, which says what to type, for what is no answer at all."""


@dataclass(frozen=True)
class Options:
    """Options in the order in which they are shown, one of which is right."""

    order: Sequence[Option]
    right: Option
    given: str = ""

    @classmethod
    def shuffled(cls, right: Option, wrong: Sequence[Option], seed: str, given: str = "") -> Options:
        """Return the options in an order that follows from the seed."""
        order = [right, *wrong]
        random.Random(seed).shuffle(order)
        return cls(order, right, given)

    @property
    def options(self) -> Sequence[str]:
        return [option.answer for option in self.order]

    def judge(self, typed: str) -> Verdict:
        letters = string.ascii_lowercase[: len(self.order)]
        letter = typed.strip().lower().strip("().")
        if len(letter) != 1 or letter not in letters:
            raise ValueError(f"type {', '.join(letters[:-1])} or {letters[-1]}")
        chosen = self.order[letters.index(letter)]
        if chosen == self.right:
            return Verdict(True, f"Right. {self.right.words}")
        right = letters[self.order.index(self.right)]
        return Verdict(False, f"No. {chosen.words}\nThe answer is {right}. {self.right.words}")


@dataclass(frozen=True)
class Estimate:
    """A number to give. tolerance: the largest distance from the value that counts as right."""

    value: float
    tolerance: float
    working: str
    given: str = ""

    @property
    def options(self) -> Sequence[str]:
        return ()

    def judge(self, typed: str) -> Verdict:
        # What was meant to be exact may differ in the last bit, as 0.1 + 0.2 does from 0.3.
        slack = self.tolerance + 1e-9 * max(1.0, abs(self.value))
        is_right = abs(read_number(typed) - self.value) <= slack
        return Verdict(
            is_right, f"{'Right' if is_right else 'No'}: {format_value(self.value)}. {self.working}"
        )


@dataclass(frozen=True, kw_only=True)
class Question(Settings, ABC):
    """Base of all kinds of questions. Raises UserError for an empty text or an `id` that is no name."""

    id: str
    """Name of the question on its page, under which progress is kept."""
    question: str

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) and not value.strip():
                raise UserError(f"{field.name} is empty.")
        if not ID.fullmatch(self.id):
            raise UserError(f"id is {self.id!r}: it must be lower-case words and numbers, joined by hyphens.")

    @classmethod
    def read(cls: type[Kind], table: Mapping[str, Any], where: str) -> Kind:
        """Return a question from its table in a quiz. Raises UserError, which begins with `where`."""
        return from_table(cls, table, where)

    @property
    def needs_run(self) -> bool:
        """Whether the answer is computed from a run of the learner's own."""
        return False

    @abstractmethod
    def ask(self, compute: Compute, seed: str) -> Asked:
        """Return the question ready to be asked. seed: determines the order of options."""


@dataclass(frozen=True, kw_only=True)
class Wrong(Settings):
    """A wrong answer, and what somebody who chooses it believes."""

    answer: str
    misconception: str


@dataclass(frozen=True, kw_only=True)
class Choice(Question):
    """Multiple choice: one right answer with its reason, and wrong ones, each with a misconception."""

    right: str
    reason: str
    wrong: tuple[Wrong, ...] = ()

    @classmethod
    def read(cls, table: Mapping[str, Any], where: str) -> Choice:
        rows = table.get("wrong")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UserError(f"{where}: wrong must be a list of tables, [[question.wrong]].")
        wrong = tuple(from_table(Wrong, row, f"{where}: wrong {n}") for n, row in enumerate(rows, 1))
        choice = from_table(cls, {key: value for key, value in table.items() if key != "wrong"}, where)
        answers = [choice.right, *(each.answer for each in wrong)]
        if not 2 <= len(answers) <= MOST_OPTIONS:
            raise UserError(f"{where}: wrong has {len(wrong)} answers: it must have 1 to {MOST_OPTIONS - 1}.")
        if not all(text.strip() for each in wrong for text in (each.answer, each.misconception)):
            raise UserError(f"{where}: wrong has an empty answer or misconception.")
        if len(set(answers)) < len(answers):
            raise UserError(f"{where}: two answers are the same.")
        return dataclasses.replace(choice, wrong=wrong)

    def ask(self, compute: Compute, seed: str) -> Options:
        wrong = [Option(each.answer, each.misconception) for each in self.wrong]
        return Options.shuffled(Option(self.right, self.reason), wrong, f"{self.id} {seed}")


@dataclass(frozen=True, kw_only=True)
class Number(Question):
    """A number, right within a tolerance, and how it is worked out."""

    answer: Value
    tolerance: NonNegative
    working: str

    def ask(self, compute: Compute, seed: str) -> Estimate:
        return Estimate(self.answer, self.tolerance, self.working)


Stage = Literal["pretrain", "sft", "label", "policy"]
"""What a run was made by. policy: PPO or GRPO."""


@dataclass(frozen=True, kw_only=True)
class AboutRun(Question):
    """Base of questions about the learner's own run, whose answer is computed by the formula with a name."""

    computed: str
    """Name of the formula."""
    stage: Stage = "pretrain"
    """Which of the learner's runs it is about."""
    reason: str

    @property
    def needs_run(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class OwnRun(AboutRun):
    """A number about the learner's own run. It is close, or within a share of it."""

    tolerance: Fraction = 0.1
    """Largest distance from the answer, as a share of it."""
    within: NonNegative = 0.0
    """Or the largest distance itself, for answers that may be near 0."""

    def ask(self, compute: Compute, seed: str) -> Estimate:
        found = compute(self.computed)
        if not isinstance(found, Computed):
            raise UserError(f"the question {self.id} is about a number, and {self.computed} gives none.")
        tolerance = max(self.within, self.tolerance * abs(found.value))
        return Estimate(found.value, tolerance, f"{found.working} {self.reason}", found.given)


@dataclass(frozen=True, kw_only=True)
class OwnChoice(AboutRun):
    """Multiple choice about the learner's own run: right and wrong answers are computed."""

    def ask(self, compute: Compute, seed: str) -> Options:
        found = compute(self.computed)
        if not isinstance(found, Chosen) or not found.wrong:
            raise UserError(
                f"the question {self.id} is multiple choice, and {self.computed} gives no answers."
            )
        right = Option(found.right.answer, f"{found.right.words} {self.reason}")
        return Options.shuffled(right, found.wrong, f"{self.id} {seed}", found.given)


KINDS: Mapping[str, type[Question]] = {
    "choice": Choice,
    "number": Number,
    "own_run": OwnRun,
    "own_choice": OwnChoice,
}


@dataclass(frozen=True)
class Quiz:
    """The questions of a page, in the order of its file. page: the name of the page's file, as in 01-bigram."""

    page: str
    questions: Sequence[Question]

    @property
    def name(self) -> str:
        """The page's name without its number."""
        return self.page.partition("-")[2]


def page_names() -> list[str]:
    """Return the pages that have a quiz, in their order."""
    return sorted(path.name.removesuffix(SUFFIX) for path in PAGES.glob(f"*{SUFFIX}"))


def find_page(given: str) -> str:
    """Return the page with a number or a name, as in 4, 04, single-head, single_head or 04-single-head.

    Raises UserError for any other.
    """
    by_name: dict[str, str] = {}
    for page in page_names():
        number, _, name = page.partition("-")
        by_name |= dict.fromkeys((name, number, str(int(number)), page), page)
    wanted = given.strip().lower().replace("_", "-").removesuffix(".md")
    if wanted in by_name:
        return by_name[wanted]
    names = [page.partition("-")[2] for page in page_names()]
    close = get_close_matches(wanted, names, n=1) or get_close_matches(wanted.partition("-")[2], names, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Pages: {', '.join(names)}."
    raise UserError(f"unknown page {given!r}. {hint}")


def load_quiz(page: str) -> Quiz:
    """Return the quiz of a page, by the name of its file, as in 01-bigram."""
    return read_quiz(PAGES / f"{page}{SUFFIX}")


def read_quiz(path: Path) -> Quiz:
    """Return the quiz in a file. Raises UserError, naming file and key, where it is broken."""
    with parsing(path, "A quiz is a TOML file."):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    for key in table:
        if key != "question":
            raise UserError(f"{path}: unknown key {key}. Known: question.")
    rows = table.get("question")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path}: question must be a list of tables, [[question]].")
    questions = [_read_question(row, f"{path}: question {n}") for n, row in enumerate(rows, 1)]
    ids = [question.id for question in questions]
    for repeated in ids:
        if ids.count(repeated) > 1:
            raise UserError(f"{path}: two questions have the id {repeated}.")
    return Quiz(path.name.removesuffix(SUFFIX), tuple(questions))


def _read_question(row: Mapping[str, Any], where: str) -> Question:
    kind = row.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"{where}: kind is {kind!r}; it can be {', '.join(map(repr, KINDS))}.")
    return KINDS[kind].read({key: value for key, value in row.items() if key != "kind"}, where)


def read_number(typed: str) -> float:
    """Return the number that somebody typed: 1234, 1,234, 0.5, 1/2, 50 %. Raises ValueError for anything else.

    A percent sign changes nothing: a question says which unit it asks for.
    """
    text = "".join(typed.lower().split()).removesuffix("%").replace("−", "-")
    numerator, slash, denominator = text.partition("/")
    parts = [numerator, denominator] if slash else [numerator]
    if not all(NUMBER.fullmatch(part) and any(map(str.isdigit, part)) for part in parts):
        raise ValueError("type a number, as in 0.5, 1/2 or 1,200")
    try:
        values = [float(part.replace(",", "")) for part in parts]
        value = values[0] / values[1] if slash else values[0]
    except (ValueError, ZeroDivisionError):
        raise ValueError("type a number, as in 0.5, 1/2 or 1,200") from None
    if not math.isfinite(value):
        raise ValueError("type a smaller number")
    return value


def format_value(value: float) -> str:
    """Return a number as text: whole where it is whole or large, else with four significant digits."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.4g}"
