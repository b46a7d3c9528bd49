"""Parse rows: count what cannot be used, and name the fields that were not."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from folio.data.rows import Row
from folio.errors import FolioWarning, UserError

Record = TypeVar("Record")
NAMED_PROBLEMS = 3
"""Rows that cannot be used of which a message tells the reason; the others are counted."""


class Fields(dict[str, Any]):
    """A row's fields by name, which remembers those that were read. Null and NaN are missing: tables have no other way
    to say that there is no value. Lists of objects, such as messages, hold Fields too."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__({name: value for name, value in row.items() if not _is_missing(value)})
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if name not in self._read:
            self._read.add(name)
            if isinstance(value, list):
                value = [Fields(each) if isinstance(each, Mapping) else each for each in value]
                self[name] = value
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """Return the field, or `default` where it is missing."""
        if name not in self:
            return default
        return self[name]

    def __iter__(self) -> Iterator[str]:  # so that dict(fields) reads all
        return super().__iter__()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """Return all names and values, which are then read."""
        return ItemsView(self)

    def unread(self) -> set[str]:
        """Return the names of fields that were not read, as in `id` or `messages.name`."""
        inner = (
            f"{name}.{below}"
            for name in self._read
            if isinstance(value := dict.get(self, name), list)
            for each in value
            if isinstance(each, Fields)
            for below in each.unread()
        )
        return {*(self.keys() - self._read), *inner}


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


@dataclass(frozen=True)
class Parsed(Generic[Record]):
    """What rows gave.

    problems: the first rows of text files that cannot be used, and why, of n_bad. skipped: the same of tables. unread:
    how many rows have each field that was not read.
    """

    records: list[Record]
    n_rows: int
    n_bad: int
    problems: list[str]
    n_skipped: int
    skipped: list[str]
    unread: Counter[str]


def parse_rows(rows: Iterable[Row], parse: Callable[[Fields, str], Record]) -> Parsed[Record]:
    """Return what `parse` makes of each row. parse: takes a row and its place; raises UserError where it cannot use it."""
    records: list[Record] = []
    told: dict[bool, list[str]] = {True: [], False: []}
    counts, unread, n_rows = Counter[bool](), Counter[str](), 0
    for row in rows:
        n_rows += 1
        try:
            if row.problem:
                raise UserError(row.problem)
            if not isinstance(row.value, Mapping):
                raise UserError("it must be an object with named values.")
            fields = Fields(row.value)
            records.append(parse(fields, row.where))
            unread.update((*fields.unread(), *row.unread))
        except UserError as error:
            counts[row.is_fatal] += 1
            if len(told[row.is_fatal]) < NAMED_PROBLEMS:
                told[row.is_fatal].append(f"{row.where}: {error}")
    return Parsed(records, n_rows, counts[True], told[True], counts[False], told[False], unread)


def merged(parts: Iterable[Parsed[Record]]) -> Parsed[Record]:
    """Return the counts of several, without their records: what a stream keeps of what has gone by."""
    parts = list(parts)
    return Parsed(
        [],
        sum(part.n_rows for part in parts),
        sum(part.n_bad for part in parts),
        [each for part in parts for each in part.problems][:NAMED_PROBLEMS],
        sum(part.n_skipped for part in parts),
        [each for part in parts for each in part.skipped][:NAMED_PROBLEMS],
        sum((part.unread for part in parts), Counter[str]()),
    )


def report(data: str, *parts: Parsed[Any]) -> str:
    """Return how many rows of tables were left out, and why the first, or "" for none; `data` names them all.

    Warns with FolioWarning of fields that were not used. Raises UserError where rows of text files cannot be used, and
    where no row of a table can.
    """
    n_rows, n_bad, n_skipped = (
        sum(getattr(part, name) for part in parts) for name in ("n_rows", "n_bad", "n_skipped")
    )
    if n_bad:
        raise UserError(_listed([each for part in parts for each in part.problems], n_bad, n_rows))
    skipped = [each for part in parts for each in part.skipped]
    if n_skipped and n_skipped == n_rows:
        raise UserError(skipped[0])
    unread = sum((part.unread for part in parts), Counter[str]())
    if unread:
        names = ", ".join(
            f"{name} ({count:,} {'row' if count == 1 else 'rows'})" for name, count in sorted(unread.items())
        )
        warnings.warn(f"{data}: fields not used: {names}", FolioWarning, stacklevel=4)
    return f"{n_skipped:,} of {n_rows:,} rows left out; {skipped[0].rstrip('.')}" if skipped else ""


def _listed(problems: list[str], n_bad: int, n_rows: int) -> str:
    if n_bad == 1:
        return problems[0]
    shown = " ".join(problems[:NAMED_PROBLEMS])
    more = n_bad - NAMED_PROBLEMS
    return f"{n_bad:,} of {n_rows:,} rows cannot be used. {shown}" + (
        f" And {more:,} more." if more > 0 else ""
    )
