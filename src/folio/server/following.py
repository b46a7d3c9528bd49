"""Follow files that runs append to: only what is new is read, and a file that was replaced is read anew."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from folio.runs.directory import is_step

PIECE = 2**20
"""Bytes read at once."""
RECENT = 20
"""The last steps, whose mean speed tells how long a step takes now."""


@dataclass(frozen=True)
class Piece:
    """New lines of a .jsonl file.

    records: the objects among them. cursor: where to go on. is_first: whether they are the first of the file: what was read
    of it before is void. is_last: whether there are no more now.
    """

    records: Sequence[dict[str, Any]]
    cursor: str
    is_first: bool
    is_last: bool


def read_after(path: Path, cursor: str = "") -> Piece:
    """Return the lines of a file after a cursor, which an earlier call returned; after "" or one of another file, the first.

    A line that is being written is left for the next time; one that is no object is passed over.
    """
    try:
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            start = _offset(cursor, stat)
            file.seek(start)
            found = file.read(PIECE)
            while found and b"\n" not in found and (more := file.read(PIECE)):
                found += more
    except OSError:  # there is none yet, or it is being replaced
        return Piece([], "", is_first=True, is_last=True)
    end = found.rfind(b"\n") + 1
    lines = (_object(line) for line in found[:end].splitlines())
    return Piece(
        [record for record in lines if record is not None],
        f"{stat.st_ino}-{start + end}",
        is_first=start == 0,
        is_last=start + len(found) >= stat.st_size,
    )


def _offset(cursor: str, stat: os.stat_result) -> int:
    number, _, offset = cursor.partition("-")
    is_same = number == str(stat.st_ino) and offset.isascii() and offset.isdigit() and len(offset) < 16
    return int(offset) if is_same and int(offset) <= stat.st_size else 0


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


class Metrics:
    """The metrics of a run as far as they were read: the evaluated steps and the last ones; the rest is only counted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.evaluated: list[dict[str, Any]] = []
        """The records with held-out metrics."""
        self.recent = deque[dict[str, Any]](maxlen=RECENT)
        """The last records."""
        self.n_records = 0
        self._cursor = ""
        self._lock = threading.Lock()

    def update(self) -> None:
        """Read what is new."""
        with self._lock:
            is_last = False
            while not is_last:
                piece = read_after(self.path, self._cursor)
                if piece.is_first:
                    self.evaluated, self.n_records = [], 0
                    self.recent.clear()
                for record in filter(is_step, piece.records):
                    self.n_records += 1
                    self.recent.append(record)
                    if any(name.startswith("val_") for name in record):
                        self.evaluated.append(record)
                self._cursor, is_last = piece.cursor, piece.is_last or not piece.records

    @property
    def last(self) -> Mapping[str, Any]:
        """The last record; empty where there is none."""
        return self.recent[-1] if self.recent else {}

    @property
    def step_seconds(self) -> float | None:
        """The seconds of a step, as the mean of the last ones; None where there are fewer than two."""
        n = len(self.recent) - 1
        if n < 1:
            return None
        seconds = self.recent[-1]["train_seconds"] - self.recent[0]["train_seconds"]
        steps = self.recent[-1]["step"] - self.recent[0]["step"]
        return float(seconds / steps) if steps > 0 else None
