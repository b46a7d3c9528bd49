"""Find and read records, such as conversations and preferences, row by row."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from folio.data.corpora import find_data
from folio.data.hub import hub_rows, is_hub_name
from folio.data.rows import Row, json_rows, jsonl_rows, parquet_rows, unreadable
from folio.errors import UserError

Record = TypeVar("Record")
FOLDER_SUFFIXES = (".jsonl", ".parquet")
VALIDATION_SHARE = 0.1
"""The last records are held out where no validation data are named."""


class Records(list[Record]):
    """Records as they were read. origin: a description for the user of where they are from, and of what was skipped."""

    def __init__(self, records: Iterable[Record], origin: str) -> None:
        super().__init__(records)
        self.origin = origin


@dataclass(frozen=True)
class Parts(Generic[Record]):
    """Training and validation records. origin: a description for the user of where they are from."""

    train: Sequence[Record]
    validation: Sequence[Record]
    origin: str


def read_records(data: str | Path, parse: Callable[[Mapping[str, Any], str], Record]) -> Records[Record]:
    """Return what `parse` makes of each row of `data`: a file, a folder with files, or a dataset of the Hugging Face Hub.

    Files are read by suffix (`READERS`), others as lines of JSON. Of a folder, files with FOLDER_SUFFIXES are read in
    order of name. `find_data` says where a path is looked for; what is no path may be the name of a dataset (see
    `hub_rows`). parse: takes a row and its place, and raises UserError for a row that it cannot use.

    Such a row is an error in a text file, which its owner can fix. Large public tables always have some: in Parquet files
    and on the Hub they are skipped, and `origin` says how many, and why the first.

    Raises UserError, naming file and line or row, for an unusable row, where no row is usable, and where nothing is found.
    """
    origin, rows = find_rows(str(data))
    found: list[Record] = []
    first_problem, n_skipped = "", 0
    for where, value, is_fatal in rows:
        try:
            if not isinstance(value, Mapping):
                raise UserError("it must be an object with named values.")
            found.append(parse(value, where))
        except UserError as error:
            if is_fatal:
                raise UserError(f"{where}: {error}") from None
            first_problem, n_skipped = first_problem or f"{where}: {error}", n_skipped + 1
    if n_skipped and not found:
        raise UserError(first_problem)
    if n_skipped:
        origin += f" ({n_skipped:,} of {len(found) + n_skipped:,} rows left out; {first_problem.rstrip('.')})"
    return Records(found, origin)


def find_parts(
    read: Callable[[str], Records[Record]],
    known: Mapping[str, Callable[[], Parts[Record]]],
    data: str,
    validation: str | None,
) -> Parts[Record]:
    """Return training and validation records. The latter are `validation`, or belong to a known name, or are the last tenth.

    Raises UserError where `read` does, and where there are too few records for both.
    """
    if validation is not None:
        train, held_out = known[data]() if data in known else read(data), read(validation)
        origin = f"{train.origin}, and {held_out.origin}"
        return Parts(train.train if isinstance(train, Parts) else train, held_out, origin)
    if data in known:
        return known[data]()
    found = read(data)
    n_train = len(found) - max(1, round(VALIDATION_SHARE * len(found)))
    if n_train < 1:
        raise UserError(f"{data} holds only one record: give at least two, or name validation data.")
    return Parts(found[:n_train], found[n_train:], found.origin)


def spread(items: Sequence[Record], n: int | None) -> Sequence[Record]:
    """Return `n` evenly spaced items, or all if there are no more or n is None."""
    n = len(items) if n is None else min(n, len(items))
    return [items[i * len(items) // n] for i in range(n)]


def find_rows(data: str) -> tuple[str, Iterator[Row]]:
    """Return a description of where `data` was found, and its rows. Raises UserError, now or at a row, for unreadable data."""
    if not data:  # Path("") would be the current folder
        raise UserError("the name of the data is empty: give a file, a folder, or a dataset of the Hub.")
    path = find_data(data)
    # Do not query the Hub for what is probably a mistyped path.
    is_mistyped = ":" not in data and (
        path.suffix.lower() in READERS or os.path.isdir(find_data(Path(data).parts[0]))
    )
    if is_hub_name(data) and not is_mistyped and not os.path.exists(path):
        origin, rows = hub_rows(data)
        return origin, (Row(where, row, is_fatal=False) for where, row in rows)
    files = _files_in(path) if os.path.isdir(path) else [path]
    rows_of_all = (row for file in files for row in READERS.get(file.suffix.lower(), jsonl_rows)(file))
    return min(str(path), os.path.relpath(path), key=len), rows_of_all


# Files


def _files_in(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise unreadable(folder, error) from None
    found = [folder / name for name in names if name[0] != "." and name.lower().endswith(FOLDER_SUFFIXES)]
    if not found:
        raise UserError(f"{folder} has no .jsonl or .parquet file in it: name a file, or another folder.")
    return found


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": jsonl_rows,
    ".json": json_rows,
    ".parquet": parquet_rows,
}
"""Readers by suffix; all other files are read as lines of JSON."""
