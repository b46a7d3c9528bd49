"""Find and read records, such as conversations and preferences, row by row."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Generic, TypeVar

from folio.data.corpora import find_data
from folio.data.fields import Fields, parse_rows, report
from folio.data.hub import hub_rows, is_hub_name
from folio.data.rows import READERS, Row, jsonl_rows
from folio.data.split import SHARE, files_of, share
from folio.errors import UserError

Record = TypeVar("Record")


@dataclass(frozen=True)
class Kind(Generic[Record]):
    """A kind of record.

    name: what messages call several of them. example: a row of a file, as JSON. parse: takes a row and its place; raises
    UserError for a row that it cannot use. content: what two records must share to be held out together, as JSON can hold
    it; the whole record by default.
    """

    name: str
    example: str
    parse: Callable[[Fields, str], Record]
    content: Callable[[Record], object] = lambda record: record


class Records(list[Record]):
    """Records as they were read. origin: a description for the user of where they are from, and of what was skipped.
    validation: records that names of files keep apart, which are not in the list."""

    def __init__(self, records: Iterable[Record], origin: str, validation: Sequence[Record] = ()) -> None:
        super().__init__(records)
        self.origin = origin
        self.validation = validation


@dataclass(frozen=True)
class Parts(Generic[Record]):
    """Training and validation records. origin: a description for the user of where they are from."""

    train: Sequence[Record]
    validation: Sequence[Record]
    origin: str


def read_records(data: str | Path, kind: Kind[Record]) -> Records[Record]:
    """Return the records of `data`: a file, a folder with files, or a dataset of the Hugging Face Hub.

    Files are read by suffix (`READERS`), a single file with another as lines of JSON. `split.files_of` says what of a
    folder is read, `find_data` where a path is looked for; what is no path may be the name of a dataset (see `hub_rows`).

    A row that cannot be used is an error in a text file, which its owner can fix. Large public tables always have some: in
    Parquet files and on the Hub they are skipped, and `origin` says how many, and why the first.

    Warns with FolioWarning of files that are left out and of fields that are not used. Raises UserError, naming file and
    line or row, for unusable rows, where no row is usable, and where nothing is found.
    """
    found = find_rows(str(data), kind)
    train, validation = (parse_rows(rows, kind.parse) for rows in (found.train, found.validation))
    notes = "; ".join(filter(None, (found.notes, report(found.origin, train, validation))))
    if not train.records and not validation.records:
        raise UserError(f"{data} holds no {kind.name}: name a file with rows such as {kind.example}")
    origin = f"{found.origin} ({notes})" if notes else found.origin
    return Records(train.records, origin, validation.records)


def find_parts(
    kind: Kind[Record],
    known: Mapping[str, Callable[[], Parts[Record]]],
    data: Sequence[str],
    validation: str | None,
) -> Parts[Record]:
    """Return training and validation records of all data together.

    The latter are `validation`, or belong to a known name, or are what names of files say; or else, where there are many
    records, a share of them (see `split.share`); or else the last tenth. Of several data each holds out a part of its own.

    Raises UserError for no data, where `read_records` does, where there are too few records for both, and for `validation`
    beside several data, which leaves open what each holds out.
    """
    if not data:
        raise UserError("no data are named: give a file, a folder, or a dataset of the Hub.")
    if len(data) == 1:
        return _find_part(kind, known, data[0], validation)
    if validation is not None:
        raise UserError(
            f"validation data go with one source: of {len(data)}, {', '.join(data)}, each holds out a part of its own."
        )
    parts = [_find_part(kind, known, each, None) for each in data]
    train, held_out = (
        [record for part in each for record in part]
        for each in zip(*((part.train, part.validation) for part in parts), strict=True)
    )
    return Parts(train, held_out, "; ".join(part.origin for part in parts))


def _find_part(
    kind: Kind[Record],
    known: Mapping[str, Callable[[], Parts[Record]]],
    data: str,
    validation: str | None,
) -> Parts[Record]:
    if data in known:
        parts = known[data]()
        train, origin = parts.train, parts.origin
        if validation is None:
            return parts
    else:
        found = read_records(data, kind)
        train, origin = found or found.validation, found.origin
        if validation is None:
            return _split(found, kind, data)
    held_out = read_records(validation, kind)
    return Parts(train, held_out.validation or held_out, f"{origin}, and {held_out.origin}")


def _split(found: Records[Record], kind: Kind[Record], data: str) -> Parts[Record]:
    if found.validation and not found:
        raise UserError(f"{data} has only files for validation, by their names: name files to train on.")
    if found.validation:
        return Parts(found, found.validation, found.origin)
    n_train = len(found) - max(1, round(SHARE * len(found)))
    if n_train < 1:
        raise UserError(f"{data} holds only one record: give at least two, or name validation data.")
    train, held_out = share(found, lambda record: json.dumps(kind.content(record), default=asdict)) or (
        found[:n_train],
        found[n_train:],
    )
    return Parts(train, held_out, found.origin)


def spread(items: Sequence[Record], n: int | None) -> Sequence[Record]:
    """Return `n` evenly spaced items, or all if there are no more or n is None."""
    n = len(items) if n is None else min(n, len(items))
    return [items[i * len(items) // n] for i in range(n)]


@dataclass(frozen=True)
class Rows:
    """Rows of data. origin: where they were found. notes: what decided which are for validation."""

    origin: str
    train: Iterable[Row]
    validation: Iterable[Row] = ()
    notes: str = ""


def find_rows(data: str, kind: Kind[Any]) -> Rows:
    """Return where `data` was found, and its rows. Raises UserError, now or at a row, for unreadable data."""
    if not data:  # Path("") would be the current folder
        raise UserError("the name of the data is empty: give a file, a folder, or a dataset of the Hub.")
    path = find_data(data)
    # Do not query the Hub for what is probably a mistyped path.
    is_mistyped = ":" not in data and (
        path.suffix.lower() in READERS or any(map(os.path.isdir, map(find_data, Path(data).parts[:1])))
    )
    if is_hub_name(data) and not is_mistyped and not os.path.exists(path):
        origin, rows = hub_rows(data)
        return Rows(origin, (Row(where, row, is_fatal=False) for where, row in rows))
    files = files_of(path, tuple(READERS))
    train, validation = (
        (row for file in part for row in _rows(file, kind)) for part in (files.train, files.validation)
    )
    return Rows(min(str(path), os.path.relpath(path), key=len), train, validation, files.notes)


def _rows(file: Path, kind: Kind[Any]) -> Iterator[Row]:
    if (read := READERS.get(file.suffix.lower())) is not None:
        return read(file)
    rows = jsonl_rows(file)
    first = next(rows, None)
    if first is None:
        return rows
    if first.problem:
        raise UserError(f"{file} is a text, and {kind.name} are needed: rows such as {kind.example}")
    return chain([first], rows)
