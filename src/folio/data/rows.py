"""Read text files, and the rows of JSON Lines, JSON and Parquet files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from folio.errors import UserError


class Row(NamedTuple):
    """A row of a file or a dataset.

    where:    the place, such as file and line, for messages.
    value:    what stands there.
    is_fatal: whether a row that cannot be used is an error. Rows of text files are: their owner can fix them. Rows of
              Parquet files and of the Hub are skipped and counted.
    """

    where: str
    value: Any
    is_fatal: bool = True


def read_text(path: Path) -> str:
    """Return a UTF-8 file's text, without a byte order mark and with "\\n" for "\\r\\n".

    Raises UserError for a file that cannot be read or is not UTF-8 text.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
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


def jsonl_rows(path: Path) -> Iterator[Row]:
    """Yield the value of each line of JSON; blank lines are passed over."""
    # Not splitlines(): it would also split at separators that JSON allows inside a string.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            yield Row(where, _parse(line, where))


def json_rows(path: Path) -> Iterator[Row]:
    """Yield the values of a JSON array. Many files named .json have an object in each line: these are read as lines."""
    text = read_text(path)
    if not text.lstrip().startswith("["):
        yield from jsonl_rows(path)
        return
    for number, value in enumerate(_parse(text, str(path)), start=1):
        yield Row(f"{path}, object {number}", value)


def parquet_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Yield each row of a Parquet file as a dictionary. Raises UserError where one of `columns` is missing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            there = file.schema_arrow.names
            for name in columns or ():
                if name not in there:
                    raise UserError(
                        f"{path} has no column {name!r} (it has: {', '.join(there)}): rename the one that is meant."
                    )
            values = (value for batch in file.iter_batches(columns=columns) for value in batch.to_pylist())
            for number, value in enumerate(values, start=1):
                yield Row(f"{path}, row {number}", value, is_fatal=False)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({' '.join(str(error).split())}).") from error
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> UserError:
    """Return the error for a file or folder that cannot be read."""
    advice = ": check its permissions." if isinstance(error, PermissionError) else "."
    return UserError(f"{path} cannot be read ({' '.join((error.strerror or str(error)).split())}){advice}")


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON ({error}).") from error
