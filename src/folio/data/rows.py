"""Read text files, and the rows of JSON Lines, JSON, CSV and Parquet files."""

from __future__ import annotations

import csv
import io
import json
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from folio.errors import UserError, parsing, reason
from folio.log import format_size
from folio.runtime import available_memory

MEMORY_PER_BYTE = 3
"""Memory that reading takes for each byte of text: the text, the documents that it is joined of, and a copy."""
ROWS_AT_ONCE = 256
"""Rows of a Parquet file in memory at once: few, since a table may say in a few bytes that a long text comes often."""
LONGEST_CELL = 2**31 - 1
"""Characters; the limit of Python's module is 131,072."""


class Row(NamedTuple):
    """A row of a file or a dataset.

    where:    the place, such as file and line, for messages.
    value:    what stands there.
    is_fatal: whether a row that cannot be used is an error. Rows of text files are: their owner can fix them. Rows of
              Parquet files and of the Hub are skipped and counted.
    problem:  why there is no value, as a sentence; "" where there is one.
    unread:   names of columns that were not read.
    """

    where: str
    value: Any
    is_fatal: bool = True
    problem: str = ""
    unread: Sequence[str] = ()


# Text


def read_text(path: Path) -> str:
    """Return a UTF-8 file's text, without a byte order mark and with "\\n" for "\\r\\n".

    Raises UserError for what cannot be read, is larger than memory, is not a file, such as a device, or is not UTF-8.
    """
    with parsing(path):
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path} is not a regular file: name a file on the disk.")
        require_room(path, found.st_size, room())
        raw = path.read_bytes()
    return decode(raw, path)


def decode(raw: bytes, path: Path) -> str:
    """Return the text of a file's bytes, as `read_text` does."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path} looks like UTF-16: save it as UTF-8.")
    if b"\x00" in raw:
        raise UserError(f"{path} looks like a binary file (byte {raw.index(0):,} is 0): name a text file.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 at byte {error.start:,}: save it as UTF-8.") from error
    return unix_lines(text.removeprefix("\ufeff"))


def unix_lines(text: str) -> str:
    """Return the text with "\\n" for "\\r\\n"."""
    return text.replace("\r\n", "\n")


def room() -> int:
    """Return how many bytes of text can be read into the memory that is free."""
    return available_memory(torch.device("cpu")) // MEMORY_PER_BYTE


def require_room(path: Path, n_bytes: int, limit: int) -> None:
    """Raise UserError where `n_bytes` of `path` are more than the limit that `room` returned."""
    if n_bytes > limit:
        raise UserError(
            f"{path} has {format_size(n_bytes)} of data or more, and there is memory to read {format_size(limit)}: name "
            "a smaller file, or make a part of this one."
        )


# Rows


def text_rows(path: Path) -> Iterator[Row]:
    """Yield a text file as one row with a `text`."""
    yield Row(str(path), {"text": read_text(path)})


def jsonl_rows(path: Path, lines: Iterable[str] | None = None) -> Iterator[Row]:
    """Yield the value of each line of JSON; blank lines are passed over. lines: those of the file, where they are streamed."""
    # Not splitlines(): it would also split at separators that JSON allows inside a string.
    for number, line in enumerate(lines or read_text(path).split("\n"), start=1):
        if line.strip():
            yield _parsed(line, f"{path}, line {number}")


def json_rows(path: Path) -> Iterator[Row]:
    """Yield the values of a JSON array, or a single object. Many files named .json have an object in each line instead."""
    text = read_text(path)
    whole = _parsed(text, str(path))
    if isinstance(whole.value, list):
        for number, value in enumerate(whole.value, start=1):
            yield Row(f"{path}, object {number}", value)
    elif whole.problem and not text.lstrip().startswith("["):
        yield from jsonl_rows(path)
    else:
        yield whole


def csv_rows(path: Path, lines: Iterable[str] | None = None) -> Iterator[Row]:
    """Yield each row of a CSV file as a dictionary. The first row names the columns; an empty cell is None.

    lines: those of the file, with their ends, where they are streamed. Raises UserError where a column has no name of its
    own.
    """
    csv.field_size_limit(LONGEST_CELL)
    table = csv.reader(lines or io.StringIO(read_text(path), newline=""), strict=True)
    names: list[str] = []
    while True:
        where = f"{path}, line {table.line_num + 1}"
        try:
            cells = next(table, None)
        except csv.Error as error:  # an open quote takes in the rest of the file
            yield Row(where, None, problem=f"not valid CSV ({error}).")
            return
        if cells is None:
            return
        if not names:
            names = cells
            if "" in names or len(set(names)) < len(names):
                raise UserError(f"{where}: the first row must give each column a name of its own.")
        elif len(cells) > len(names):
            yield Row(where, None, problem=f"it has {len(cells)} cells, and there are {len(names)} columns.")
        elif cells:
            yield Row(where, dict(zip(names, [cell or None for cell in cells], strict=False)))


def parquet_rows(path: Path, columns: Sequence[str] | None = None, is_kept: bool = True) -> Iterator[Row]:
    """Yield each row of a Parquet file as a dictionary. Raises UserError where one of `columns` is missing.

    columns: the only ones to read; all others are named in `Row.unread`. is_kept: whether all rows are to be in memory at
    the same time; a file that is too large for it is then refused.
    """
    import pyarrow.parquet as pq

    with parsing(path, "A file with this name must be Parquet."), pq.ParquetFile(path) as file:
        there = file.schema_arrow.names
        for name in columns or ():
            if name not in there:
                raise UserError(
                    f"{path} has no column {name!r} (it has: {', '.join(there)}): rename the one that is meant."
                )
        limit = room()
        if is_kept:
            require_room(path, _unpacked_size(file.metadata, columns), limit)
        unread = [name for name in there if columns is not None and name not in columns]
        number = n_bytes = 0
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
            n_bytes = batch.nbytes + (n_bytes if is_kept else 0)
            require_room(path, n_bytes, limit)  # a text that comes often counts once above
            for value in batch.to_pylist():
                number += 1
                yield Row(f"{path}, row {number}", value, is_fatal=False, unread=unread)


def _unpacked_size(metadata: Any, columns: Sequence[str] | None) -> int:
    """Return the bytes of these columns of a Parquet file, or of all, without compression."""
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    chunks = (group.column(i) for group in groups for i in range(group.num_columns))
    return sum(
        chunk.total_uncompressed_size
        for chunk in chunks
        if columns is None or chunk.path_in_schema.split(".")[0] in columns
    )


Reader = Callable[[Path], Iterator[Row]]
READERS: Mapping[str, Reader] = {
    ".jsonl": jsonl_rows,
    ".json": json_rows,
    ".csv": csv_rows,
    ".parquet": parquet_rows,
}
"""Readers of rows, by suffix."""


def _parsed(text: str, where: str) -> Row:
    """Return a row of JSON. NaN and infinities, which JSON does not have, are None."""
    try:
        return Row(where, json.loads(text, parse_constant=lambda _: None))
    except (ValueError, RecursionError, MemoryError) as error:
        return Row(where, None, problem=f"not valid JSON ({reason(error)}).")
