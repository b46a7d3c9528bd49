"""Which files and documents are for training, which for validation: by their names, or else by their content."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from folio.errors import FolioWarning, UserError, parsing

Document = TypeVar("Document")
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Words in the names of files and folders, and the part of the data that they mean."""
NAMED = 3
"""Files that are named in a message; where there are more, they are counted."""
MANY = 100
"""Different documents from which on a share of them is held out."""
SHARE = 0.1
"""The share of the data that is held out."""


@dataclass(frozen=True)
class Files:
    """The files that data consist of.

    train: files to learn from, and to hold out a part of where there are no others. validation: files to validate on.
    notes: what decided, for the user; "" where names say nothing.
    """

    train: Sequence[Path]
    validation: Sequence[Path] = ()
    notes: str = ""


def files_of(path: Path, suffixes: Sequence[str]) -> Files:
    """Return a file, or the files with these suffixes of a folder and the folders in it, in order of name.

    Where names of files, or of the folders in this one, have a word of PARTS, they are the split: as train.jsonl,
    books-val.parquet, or test/one.txt. Files for testing are left out, and where some are for training, so are those
    that say nothing. Hidden files and folders are passed over. What else is left out is named in a FolioWarning.

    Raises UserError for a folder that cannot be read, or in which there is nothing to learn from.
    """
    if not os.path.isdir(path):
        return Files([path])
    all_files = [Path(os.path.relpath(file, path)) for file in _walk(path)]
    readable = [file for file in all_files if file.suffix.lower() in suffixes]
    others = Counter(
        file.suffix.lower() or "without suffix" for file in all_files if file not in set(readable)
    )
    by_part: dict[str, list[Path]] = {"train": [], "validation": [], "test": [], "": []}
    for file in readable:
        by_part[part_of(file)].append(file)
    train, validation = by_part["train"] or by_part[""], by_part["validation"]
    left_out = [
        _counted(others),
        _names("for testing, and left out:", by_part["test"]),
        _names("left out beside the files for training:", by_part[""] if by_part["train"] else []),
    ]
    if not readable:
        raise UserError(
            f"{path} has no {', '.join(suffixes[:-1])} or {suffixes[-1]} file in it: name another folder."
        )
    if not train and not validation:
        raise UserError(
            f"all files in {path} are for testing, by their names, and folio never learns from those: rename them, or "
            "name a file."
        )
    for words in filter(None, left_out):
        warnings.warn(f"{path}: {words}", FolioWarning, stacklevel=4)
    notes = "; ".join(filter(None, (_names("train:", by_part["train"]), _names("validation:", validation))))
    return Files([path / file for file in train], [path / file for file in validation], notes)


def part_of(file: Path) -> str:
    """Return "train", "validation" or "test" where a path says so, or else "". Its first word of PARTS decides."""
    words = (word for name in file.parts for word in re.split(r"[^a-z]+", name.lower()))
    return next((PARTS[word] for word in words if word in PARTS), "")


def share(
    documents: Sequence[Document], content: Callable[[Document], str]
) -> tuple[list[Document], list[Document]] | None:
    """Return (train, validation) documents: a share of them is held out by the hash of their content.

    So the same content is never on both sides, and a document stays on its side whatever others come or go. Returns None
    for fewer different documents than MANY, and where a side would be empty.
    """
    digests = [
        hashlib.sha256(content(each).encode("utf-8", "surrogatepass")).digest()[:8] for each in documents
    ]
    if len(set(digests)) < MANY:
        return None
    sides: tuple[list[Document], list[Document]] = ([], [])
    for document, digest in zip(documents, digests, strict=True):
        sides[int.from_bytes(digest) < SHARE * 2**64].append(document)
    return sides if all(sides) else None


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, in order of name. Links are followed, each folder is visited once."""
    with parsing(folder):
        seen = {os.path.realpath(folder)}
        pending = [folder]
        while pending:
            entries = sorted(pending.pop().iterdir(), key=lambda path: path.name)
            folders = []
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    place = os.path.realpath(entry)
                    folders += [] if place in seen else [entry]
                    seen.add(place)
                else:
                    yield entry
            pending += reversed(folders)


def _names(words: str, files: Sequence[Path]) -> str:
    if not files:
        return ""
    few = len(files) <= NAMED
    return f"{words} {', '.join(map(str, files)) if few else f'{files[0]} and {len(files) - 1:,} more'}"


def _counted(by_suffix: Counter[str]) -> str:
    n = sum(by_suffix.values())
    kinds = ", ".join(f"{suffix} {count:,}" for suffix, count in sorted(by_suffix.items()))
    return f"{n:,} {'file' if n == 1 else 'files'} left out ({kinds})" if n else ""
