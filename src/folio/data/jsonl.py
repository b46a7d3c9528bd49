"""JSONL files of people: one object in a line, with the line named where something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from folio.errors import UserError

Record = TypeVar("Record")


def read_jsonl(path: Path, parse: Callable[[object], Record]) -> Iterator[Record]:
    """What `parse` makes of each line of a .jsonl file, or of all such files in a folder; empty lines are passed over.

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
            try:
                yield parse(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise UserError(f"{file}, line {number}: not JSON ({error}).") from None
            except UserError as error:
                raise UserError(f"{file}, line {number}: {error}") from None
