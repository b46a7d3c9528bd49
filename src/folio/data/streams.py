"""Read the documents of data of any size one after another, in memory that does not grow with them.

`data/corpora.py` reads a whole text, which the lecture and small runs need; here, the files are those of the same formats,
and also compressed (`COMPRESSED`), or a dataset of the Hugging Face Hub.
"""

from __future__ import annotations

import codecs
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa

from folio.data.corpora import TEXT_READERS, find_data, text_of
from folio.data.fields import Parsed, merged, parse_rows, report
from folio.data.hub import hub_rows, is_hub_name
from folio.data.rows import Reader, Row, csv_rows, json_rows, jsonl_rows, parquet_rows, unix_lines
from folio.data.split import files_of
from folio.errors import UserError, parsing

COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
"""Names of compressions, by suffix."""
BLOCK = 2**20
"""Bytes read at once."""
PART = 2**24
"""Characters of a document that are in memory at once: a longer one comes in parts."""


@dataclass(frozen=True)
class Document:
    """A text, or a part of one that has more than PART characters.

    where: its file and row, for messages. is_start: whether it is a text's beginning, not a later part.
    """

    text: str
    where: str
    is_start: bool = True

    @property
    def key(self) -> int:
        """64 bits of the hash of the text, the same that `data/split.py: share` goes by."""
        return int.from_bytes(hashlib.sha256(self.text.encode()).digest()[:8])


@dataclass
class Stream:
    """Documents of one part of the data, such as its training files; each iteration reads them again.

    Iterating raises UserError for a file that cannot be read, or is damaged, or not UTF-8, and for a row of a text file
    that has no `text`; such rows of tables are left out and counted.

    data:    what the user called the data. rows: functions that begin to read a file each. parsed: counts of the last
             iteration, as far as it came.
    """

    data: str
    rows: Sequence[Callable[[], Iterator[Row]]]
    parsed: Parsed[str] = field(default_factory=lambda: merged([]))

    def __iter__(self) -> Iterator[Document]:
        self.parsed = merged([])
        for read in self.rows:
            where = ""
            for row in read():
                parsed = parse_rows([row], text_of)
                if parsed.n_bad:
                    report(self.data, parsed)  # raises
                self.parsed = merged([self.parsed, parsed])
                for text in parsed.records:
                    yield from _parts(text, row.where, is_start=row.where != where)
                where = row.where

    def notes(self) -> str:
        """Return what was left out in the last iteration, "" for nothing. Warns and raises as `data/fields.py: report`."""
        return report(self.data, self.parsed)


@dataclass(frozen=True)
class Source:
    """Data of any size, as streams of documents.

    validation: None where names of files keep none apart. origin: where they are from, in words. identity: what changes when
    the data do: paths, sizes and times of files, or the name of a dataset on the Hub.
    """

    train: Stream
    validation: Stream | None
    origin: str
    identity: str
    n_bytes: int


def find_source(data: str, validation: str | None = None) -> Source:
    """Return the documents of a file, a folder or a Hub dataset. validation: data likewise, to hold out instead of a part.

    Which files of a folder are for validation, their names say (`data/split.py: files_of`). Raises UserError where there
    is nothing of this name.
    """
    train, own_validation, origin, files = _streams(data)
    if validation is None:
        held_out = own_validation
    else:
        other, own, other_origin, other_files = _streams(validation)
        held_out, origin = own or other, f"{origin}, and {other_origin}"
        files = [*files, *other_files]
    stamps = [
        f"{os.path.realpath(file)} {(status := file.stat()).st_size} {status.st_mtime_ns}" for file in files
    ]
    named = [name for name in (data, validation) if name and not os.path.exists(find_data(name))]
    identity = "\n".join([*named, *stamps, f"validation {validation is not None}"])
    return Source(train, held_out, origin, identity, sum(file.stat().st_size for file in files))


def files_size(data: str) -> int:
    """Return the bytes of the files of data, as they are on the disk; 0 for what is none, such as a name."""
    path = find_data(data)
    if os.path.isfile(path):
        return path.stat().st_size
    walked = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(os.path.getsize(file) for file in walked if os.path.isfile(file))


def must_stream(data: str) -> bool:
    """Return whether only this module reads such data: compressed files, or a dataset of the Hub."""
    path = find_data(data)
    if os.path.isdir(path):
        return any(Path(name).suffix.lower() in COMPRESSED for _, _, names in os.walk(path) for name in names)
    return path.suffix.lower() in COMPRESSED if os.path.exists(path) else _is_on_hub(data)


def _is_on_hub(data: str) -> bool:
    """Return whether a name that is no path here is likely one of the Hub, and no misspelled path."""
    suffix = Path(data).suffix.lower()
    return is_hub_name(data) and suffix not in (*TEXT_READERS, *COMPRESSED) and not Path(data).parent.is_dir()


def _streams(data: str) -> tuple[Stream, Stream | None, str, list[Path]]:
    """Return documents to train on and to validate on, a description, and the files."""
    path = find_data(data)
    if data and os.path.exists(path):
        files = files_of(path, (*TEXT_READERS, *COMPRESSED))
        train, validation = (
            Stream(data, [partial(read_rows, file) for file in part])
            for part in (files.train, files.validation)
        )
        origin = f"{path} ({files.notes})" if files.notes else str(path)
        if not files.train:
            train, validation = validation, Stream(data, [])
        return train, validation if validation.rows else None, origin, [*files.train, *files.validation]
    if not _is_on_hub(data):
        raise UserError(
            f"There is no file or folder {data!r}: name texts, or a dataset of the Hugging Face Hub."
        )
    return Stream(data, [lambda: _hub(data)]), None, f"{data} of the Hugging Face Hub", []


def _hub(data: str) -> Iterator[Row]:
    _, rows = hub_rows(data)
    return (Row(where, value, is_fatal=False) for where, value in rows)


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file, as its suffix says, without holding the file in memory; a text is a row, or several.

    A .json file is held: its rows are one value. Under a compression it has a value in each line, as such files do.
    """
    compression = COMPRESSED.get(path.suffix.lower())
    suffix = (path.with_suffix("").suffix if compression else path.suffix).lower()
    if suffix == ".parquet" and compression:
        raise UserError(f"{path}: Parquet is compressed by itself: unpack the file, and name it .parquet.")
    readers: dict[str, Reader] = {
        ".jsonl": lambda path: jsonl_rows(path, lines(path)),
        ".json": (lambda path: jsonl_rows(path, lines(path))) if compression else json_rows,
        ".csv": lambda path: csv_rows(path, lines(path)),
        ".parquet": partial(parquet_rows, columns=["text"], is_kept=False),
    }
    return readers.get(suffix, _text_rows)(path)


def _text_rows(path: Path) -> Iterator[Row]:
    """Yield a text in parts of about PART characters, which end with a line where there are lines."""
    text = ""
    for block in blocks(path):
        text += block
        while len(text) > PART:
            end = text.rfind("\n", 0, PART) + 1 or PART
            yield Row(str(path), {"text": text[:end]})
            text = text[end:]
    if text:
        yield Row(str(path), {"text": text})


def lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, with their ends. Raises UserError as `blocks` does."""
    cut: list[str] = []
    for block in blocks(path):
        *whole, rest = block.split("\n")
        for line in whole:
            yield "".join((*cut, line, "\n"))
            cut = []
        cut.append(rest)
    if any(cut):
        yield "".join(cut)


def blocks(path: Path) -> Iterator[str]:
    """Yield the text of a UTF-8 file block by block, as `data/rows.py: read_text` returns it whole.

    Raises UserError for what cannot be read or unpacked, and names the byte at which a text is not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    n_bytes, is_first, end = 0, True, ""
    for raw in _raw_blocks(path):
        if is_first and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UserError(f"{path} looks like UTF-16: save it as UTF-8.")
        if b"\0" in raw:
            raise UserError(
                f"{path} looks like a binary file (byte {n_bytes + raw.index(0):,} is 0): name a text file."
            )
        n_pending = len(decoder.getstate()[0])
        try:
            text = end + decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is not UTF-8 at byte {n_bytes - n_pending + error.start:,}: save it as UTF-8."
            ) from error
        n_bytes += len(raw)
        if is_first and text:
            text, is_first = text.removeprefix("\ufeff"), False
        end = "\r" if raw and text.endswith("\r") else ""  # its "\n" may come next
        if text := unix_lines(text.removesuffix(end) if end else text):
            yield text


def _raw_blocks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, unpacked as its suffix says, then b""."""
    codec = COMPRESSED.get(path.suffix.lower())
    if codec and not pa.Codec.is_available(codec):
        raise UserError(f"{path}: pyarrow was built without {codec} on this machine: unpack the file first.")
    if not path.is_file():
        raise UserError(f"{path} is not a regular file: name a file on the disk.")
    with parsing(path, f"Is it damaged, or not {codec}?" if codec else ""):
        file = pa.input_stream(str(path), compression=codec)
    with file:
        while True:
            with parsing(path, f"Is it damaged, or not {codec}?" if codec else ""):
                raw = file.read(BLOCK)
            yield raw
            if not raw:
                return


def _parts(text: str, where: str, is_start: bool) -> Iterator[Document]:
    for first in range(0, len(text), PART):
        yield Document(text[first : first + PART], where, is_start and first == 0)
