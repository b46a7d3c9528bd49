"""The one way to write a file, a directory and a line, so that a crash never leaves half of one.

Files and directories are written under a temporary name, synced to the disk and renamed. A directory also carries
the checksums of its files: at any moment, a power cut included, whatever has its final name is complete or detectably
damaged.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from folio.errors import NO_ROOM, UserError, parsing

CHECKSUMS = "checksums.json"


class WriteError(UserError):
    """A file or a directory that cannot be written. The message names it and gives the system's reason."""

    def __init__(self, path: Path, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or error
        found = re.search(r"os error (\d+)", str(error))  # safetensors gives the number in its message only
        number = int(found[1]) if found else getattr(error, "errno", None)
        super().__init__(
            f"{path}: cannot be written ({reason})."
            + (" Make room on the disk." if number in NO_ROOM else "")
        )


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; when the block ends, its file replaces `path` in one step.

    Raises WriteError if it cannot be written; `path` is then as it was before.
    """
    temporary = _beside(path, "writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise WriteError(path, error) from error
    finally:
        _remove(temporary)


def write_file(path: Path, content: bytes) -> None:
    """Replace a file in one step; `atomic_file` says what is raised."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def read_json(path: Path, then: str = "") -> dict[str, Any]:
    """Return the object of a JSON file. Raises UserError where it cannot be read, or holds something else.

    then: what to do in that case, as a sentence.
    """
    with parsing(path, then):
        value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold a JSON object, not {type(value).__name__}. {then}".rstrip())
    return value


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append one JSON object to a .jsonl file, on a line of its own even where the last line lacks its end.

    Raises WriteError if it cannot be written.
    """
    try:
        with path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
            is_cut = file.read(1) not in (b"", b"\n")
            file.write((b"\n" if is_cut else b"") + _line(record))  # at the end, wherever was read
    except OSError as error:
        raise WriteError(path, error) from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a .jsonl file, up to the first line that is damaged or was cut off by a kill."""
    if not path.exists():
        return []
    records = []
    for line in path.read_bytes().split(b"\n"):
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def drop_cut_line(path: Path) -> None:
    """Drop a last line that was cut off from a .jsonl file, so that lines can be appended to it again."""
    if path.exists():
        write_file(path, b"".join(map(_line, read_lines(path))))


def keep_before(path: Path, step: int) -> None:
    """Drop from a .jsonl file all records of `step` and later: a resumed run writes them again."""
    if path.exists():
        write_file(path, b"".join(_line(record) for record in read_lines(path) if record["step"] < step))


def _line(record: Mapping[str, Any]) -> bytes:
    # What a person typed may hold half a surrogate pair; json.loads takes those from bytes as well.
    return (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def write_directory(final: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new directory, add checksums, and put it in the place of `final`.

    Raises WriteError if it cannot be written, and whatever UserError `write` raises; `final` is then as it was before.
    """
    temporary, previous = _beside(final, "writing"), _beside(final, "previous")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write(temporary)
        _seal(temporary)
        if final.exists():
            shutil.rmtree(previous, ignore_errors=True)
            final.rename(previous)
        temporary.rename(final)
        _sync(final.parent)
    except (OSError, SafetensorError, UserError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        restore_directory(final)
        if isinstance(error, UserError):
            raise
        raise WriteError(final, error) from error
    shutil.rmtree(previous, ignore_errors=True)


def restore_directory(final: Path) -> None:
    """Finish what a `write_directory` that was killed between its two renames had begun. For the owner alone."""
    previous = _beside(final, "previous")
    if previous.exists() and not final.exists():
        previous.rename(final)


def readable_directory(final: Path) -> Path:
    """Return `final`, or the version before it while `write_directory` is between its two renames. For readers, who
    must not interfere with the owner as `restore_directory` would."""
    previous = _beside(final, "previous")
    return previous if previous.exists() and not final.exists() else final


def damage(directory: Path) -> str | None:
    """Return what is wrong with a directory that `write_directory` made, in words, or None if it is whole."""
    try:
        checksums = json.loads((directory / CHECKSUMS).read_text(encoding="utf-8"))
        for name, expected in checksums.items():
            if _sha256(directory / name) != expected:
                return f"{name} has changed since it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return f"unreadable: {error}"
    return None


def _beside(final: Path, suffix: str) -> Path:
    """Return a hidden name beside `final`, which no one looking for the final name takes for it."""
    return final.with_name(f".{final.name}.{suffix}")


def _seal(directory: Path) -> None:
    """Write checksums and force everything to the disk, so that the rename cannot overtake the data."""
    files = sorted(path for path in directory.iterdir() if path.is_file())
    checksums = {path.name: _sha256(path) for path in files}
    (directory / CHECKSUMS).write_text(json.dumps(checksums, indent=2) + "\n", encoding="utf-8")
    for path in (*files, directory / CHECKSUMS, directory):
        _sync(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Force a file or a directory's entries to the disk. Windows has no handle for a directory and needs none: it
    journals renames itself."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    """Remove what a failed write left; a disk that refuses even that must not hide the first error."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
