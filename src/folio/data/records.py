"""Records that people have, as conversations and preferences: where they are found, and how they are read row by row."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from folio.data.corpora import find_data
from folio.data.hub import hub_rows, is_hub_name
from folio.errors import UserError

Record = TypeVar("Record")
FOLDER_SUFFIXES = (".jsonl", ".parquet")
VALIDATION_SHARE = 0.1
"""Of what there is, where nothing else is named to measure on: the last ones."""


class Records(list[Record]):
    """What was read. origin: words for the person on where it was found, and on what was left out."""

    def __init__(self, records: Iterable[Record], origin: str) -> None:
        super().__init__(records)
        self.origin = origin


@dataclass(frozen=True)
class Parts(Generic[Record]):
    """What there is to learn from, and to measure on. origin: where both are from, in words."""

    train: Sequence[Record]
    validation: Sequence[Record]
    origin: str


class Row(NamedTuple):
    """where: words on where it stands, as file and line. can_be_mended: by a person with an editor, as a line can and
    a row of a table cannot."""

    where: str
    value: object
    can_be_mended: bool = True


def read_records(data: str | Path, parse: Callable[[Mapping[str, Any], str], Record]) -> Records[Record]:
    """What `parse` makes of each row of `data`, which is a file, a folder with files or a dataset of the Hugging Face Hub.

    Files are lines of JSON, or as `READERS` says; empty lines are passed over. Of a folder, files with FOLDER_SUFFIXES
    are read in order of name. `find_data` says where a path is looked for; what is no path may be the name of a dataset
    (see `hub_rows`). parse: gets a row and words on where it stands, and raises UserError for what it cannot use.

    A line that cannot be used is a mistake, to be mended. Large public tables always have some such rows, and nobody
    can mend those: rows of Parquet files and of the Hub are left out, and the origin tells how many and why the first.

    Raises UserError, naming file and line or row, for what cannot be used, where nothing can, and where nothing is found.
    """
    origin, rows = find_rows(str(data))
    found: list[Record] = []
    first_problem, n_left_out = "", 0
    for where, value, can_be_mended in rows:
        try:
            if not isinstance(value, Mapping):
                raise UserError("it must be an object with named values.")
            found.append(parse(value, where))
        except UserError as error:
            if can_be_mended:
                raise UserError(f"{where}: {error}") from None
            first_problem, n_left_out = first_problem or f"{where}: {error}", n_left_out + 1
    if n_left_out and not found:
        raise UserError(first_problem)
    if n_left_out:
        origin += (
            f" ({n_left_out:,} of {len(found) + n_left_out:,} rows left out; {first_problem.rstrip('.')})"
        )
    return Records(found, origin)


def find_parts(
    read: Callable[[str], Records[Record]],
    known: Mapping[str, Callable[[], Parts[Record]]],
    data: str,
    validation: str | None,
) -> Parts[Record]:
    """What there is to learn from, and what to measure on: `validation`, or else what belongs to a known name, or the
    last tenth.

    Raises UserError where `read` does, and where there is too little for both.
    """
    if validation is not None:
        learned, measured = known[data]() if data in known else read(data), read(validation)
        train = learned.train if isinstance(learned, Parts) else learned
        return Parts(train, measured, f"{learned.origin}, and {measured.origin}")
    if data in known:
        return known[data]()
    found = read(data)
    n_train = len(found) - max(1, round(VALIDATION_SHARE * len(found)))
    if n_train < 1:
        raise UserError(f"{data} holds but one record: give at least two, or others with --validation.")
    return Parts(found[:n_train], found[n_train:], found.origin)


def spread(items: Sequence[Record], n: int | None) -> Sequence[Record]:
    """`n` of them, from all over; all where there are no more, or n is None."""
    n = len(items) if n is None else min(n, len(items))
    return [items[i * len(items) // n] for i in range(n)]


def find_rows(data: str) -> tuple[str, Iterator[Row]]:
    """Where `data` was found, in words, and its rows. Raises UserError, now or at a row, for what cannot be read."""
    if not data:  # Path("") would be the current folder
        raise UserError("the name of the data is empty: give a file, a folder, or a dataset of the Hub.")
    path = find_data(data)
    # A slip in the name of a file is not to be looked for in the world.
    is_slip = ":" not in data and (
        path.suffix.lower() in READERS or os.path.isdir(find_data(Path(data).parts[0]))
    )
    if is_hub_name(data) and not is_slip and not os.path.exists(path):
        origin, rows = hub_rows(data)
        return origin, (Row(where, row, can_be_mended=False) for where, row in rows)
    files = _files_in(path) if os.path.isdir(path) else [path]
    rows_of_all = (row for file in files for row in READERS.get(file.suffix.lower(), _lines)(file))
    return min(str(path), os.path.relpath(path), key=len), rows_of_all


# Files


def _files_in(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error}).") from None
    found = [folder / name for name in names if name[0] != "." and name.lower().endswith(FOLDER_SUFFIXES)]
    if not found:
        raise UserError(f"{folder} has no .jsonl or .parquet file in it: name a file, or another folder.")
    return found


def _lines(file: Path) -> Iterator[Row]:
    # Not splitlines(): it would also split at separators that JSON allows inside a string.
    for number, line in enumerate(_text(file).split("\n"), start=1):
        if line.strip():
            where = f"{file}, line {number}"
            yield Row(where, _parsed(line, where))


def _array(file: Path) -> Iterator[Row]:
    text = _text(file)
    if not text.lstrip().startswith("["):  # many that are called .json have an object in each line
        yield from _lines(file)
        return
    for number, value in enumerate(_parsed(text, str(file)), start=1):
        yield Row(f"{file}, object {number}", value)


def _table(file: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            values = (value for batch in table.iter_batches() for value in batch.to_pylist())
            for number, value in enumerate(values, start=1):
                yield Row(f"{file}, row {number}", value, can_be_mended=False)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{file} cannot be read as Parquet ({' '.join(str(error).split())}).") from None


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {".jsonl": _lines, ".json": _array, ".parquet": _table}
"""How files are read, by suffix; all others are read as lines of JSON."""


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read ({error}).") from None


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error}).") from None
