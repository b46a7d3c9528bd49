"""JSONL files of people: one object in a line, with the line named where something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from folio.errors import UserError

Record = TypeVar("Record")
VALIDATION_SHARE = 0.1
"""Of what a file holds, where nothing else is named to measure on: the last ones."""


def read_jsonl(path: Path, parse: Callable[[object], Record]) -> Iterator[tuple[str, Record]]:
    """File and line, in words, and what `parse` makes of it, for each line of a .jsonl file, or of all such files in a
    folder; empty lines are passed over.

    Raises UserError, naming file and line, for what is not JSON, and where `parse` does.
    """
    for file in sorted(path.glob("[!.]*.jsonl")) if path.is_dir() else [path]:
        try:
            lines = file.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file} cannot be read ({error}).") from None
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{file}, line {number}"
            try:
                yield where, parse(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise UserError(f"{where}: not JSON ({error}).") from None
            except UserError as error:
                raise UserError(f"{where}: {error}") from None


def read_split(
    read: Callable[[Path], Sequence[Record]], path: Path, validation: Path | None
) -> tuple[Sequence[Record], Sequence[Record]]:
    """What there is to learn from, and what to measure on: another file, or else the last tenth.

    Raises UserError where `read` does, and where there is too little for both.
    """
    found = read(path)
    if validation is not None:
        return found, read(validation)
    n_train = len(found) - max(1, round(VALIDATION_SHARE * len(found)))
    if n_train < 1:
        raise UserError(f"{path} holds but one line: give at least two, or a --validation file.")
    return found[:n_train], found[n_train:]
