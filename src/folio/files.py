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
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

from folio.errors import NO_ROOM, FolioWarning, UserError, parsing

T = TypeVar("T")
CHECKSUMS = "checksums.json"
READS = 100
"""How often a directory that is replaced while it is read is read again."""


class WriteError(UserError):
    """A file or a directory that cannot be written. The message names it and gives the system's reason."""

    def __init__(self, path: Path, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or error
        found = re.search(r"os error (\d+)", str(error))  # safetensors gives the number in its message only
        number = int(found[1]) if found else getattr(error, "errno", None)
        self.error = error
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
        temporary.write_bytes(b"")
        mode = (
            temporary.stat().st_mode
        )  # as the user's umask says; safetensors makes files for their owner alone
        yield temporary
        temporary.chmod(mode)
        sync(temporary)
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


def read_lines(
    path: Path, is_record: Callable[[Mapping[str, Any]], bool] = lambda record: True
) -> list[dict[str, Any]]:
    """Return the objects of a .jsonl file, without a last line that was cut off by a kill.

    is_record: says which objects the file may hold. Other lines are damaged: they are left out, with a FolioWarning.
    """
    return [record for _, record in _records(path, is_record)]


def drop_damaged_lines(path: Path) -> None:
    """Drop what `read_lines` leaves out from a .jsonl file, so that lines can be appended to it again."""
    _keep_lines(path, lambda record: True, lambda record: True)


def keep_before(path: Path, step: int) -> None:
    """Drop from a .jsonl file all records of `step` and later, which a resumed run writes again, and damaged lines."""
    _keep_lines(path, _has_step, lambda record: bool(record["step"] < step))


def _keep_lines(
    path: Path, is_record: Callable[[Mapping[str, Any]], bool], is_kept: Callable[[Mapping[str, Any]], bool]
) -> None:
    if not path.exists():
        return
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        for line, record in _records(path, is_record):
            if is_kept(record):
                file.write(line.rstrip(b"\n") + b"\n")


def _has_step(record: Mapping[str, Any]) -> bool:
    return isinstance(record.get("step"), int)


def _records(
    path: Path, is_record: Callable[[Mapping[str, Any]], bool]
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the lines of a .jsonl file, and the record in each, without holding the file in memory."""
    damaged: list[range] = []
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if isinstance(record, dict) and is_record(record):
                yield line, record
            elif line.endswith(b"\n") and line.strip():  # else it was cut off, or is empty
                follows = damaged and damaged[-1].stop == number
                damaged.append(range(damaged.pop().start if follows else number, number + 1))
    if damaged:
        warnings.warn(
            f"{path}: {spans(damaged, 'line')} cannot be read: left out.",
            FolioWarning,
            stacklevel=1,  # one place for all callers: it is shown once
        )


def spans(ranges: Sequence[range], noun: str) -> str:
    """Return ranges of numbers in words, as "line 3" or "5 lines (3-6, 9)"."""
    total = sum(each.stop - each.start for each in ranges)  # len() has a limit
    parts = [
        f"{each.start}-{each.stop - 1}" if each.stop - each.start > 1 else f"{each.start}"
        for each in ranges[:5]
    ]
    if total == 1:
        return f"{noun} {parts[0]}"
    return f"{total:,} {noun}s ({', '.join(parts)}{', ...' if len(ranges) > 5 else ''})"


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
        sync(final.parent)
    except (OSError, SafetensorError, UserError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        restore_directory(final)
        if isinstance(error, UserError) and not isinstance(error, WriteError):
            raise
        cause = error.error if isinstance(error, WriteError) else error  # of a file under the temporary name
        raise WriteError(final, cause) from error
    shutil.rmtree(previous, ignore_errors=True)


def restore_directory(final: Path) -> None:
    """Finish what a `write_directory` that was killed between its two renames had begun. For the owner alone."""
    previous = _beside(final, "previous")
    if previous.exists() and not final.exists():
        previous.rename(final)


def readable_directory(final: Path) -> Path:
    """Return `final`, or the version before it while `write_directory` is between its two renames. For readers, who
    must not interfere with the owner as `restore_directory` would."""
    if os.path.exists(final) or not final.name:  # unlike Path.exists, it raises for no path
        return final
    previous = _beside(final, "previous")
    return previous if os.path.exists(previous) else final


def read_directory(final: Path, read: Callable[[Path], T]) -> T:
    """Return what `read` makes of the files of a directory: all of one version, even while `write_directory` replaces it.

    `read` gets the path of the files, and is called again where they were replaced meanwhile. Raises what it raises.
    """
    for _ in range(READS):
        before = _version(final)
        try:
            value = read(before[0])
        except (OSError, UserError):
            if _version(final) == before:
                raise
        else:
            if _version(final) == before:
                return value
    raise UserError(f"{final} is replaced again and again: read it when that has ended.")


def _version(final: Path) -> tuple[Path, object, bytes]:
    """Return where the files of a directory are, and what changes when they are replaced."""
    place = readable_directory(final)
    try:
        stat = place.stat()
        checksums = place / CHECKSUMS
        return place, (stat.st_ino, stat.st_mtime_ns), checksums.read_bytes() if checksums.is_file() else b""
    except OSError:
        return place, None, b""


def damage(directory: Path, needed: Collection[str] = ()) -> str | None:
    """Return what is wrong with a directory that `write_directory` made, in words, or None if it is whole.

    needed: names of files that its checksums must cover.
    """
    return read_directory(directory, partial(_damage, needed=needed))


def _damage(directory: Path, needed: Collection[str]) -> str | None:
    if not (directory / CHECKSUMS).exists():
        return f"{CHECKSUMS} is missing"
    try:
        checksums = read_json(directory / CHECKSUMS)
    except UserError as error:
        return str(error).removeprefix(f"{directory}{os.sep}").rstrip(".")
    uncovered = {*needed} - checksums.keys()
    if uncovered or not checksums:
        return f"{CHECKSUMS} does not cover {min(uncovered, default='any file')}"
    return next(filter(None, (_change(directory, *item) for item in checksums.items())), None)


def _change(directory: Path, name: str, checksum: object) -> str | None:
    """Return what has happened to a file, in words, or None if it has this checksum."""
    try:
        return None if sha256(directory / name) == checksum else f"{name} has changed since it was written"
    except FileNotFoundError:
        return f"{name} is missing"
    except (OSError, ValueError) as error:  # no name of a file holds a NUL
        return f"{name!r} cannot be read: {error}"


def _beside(final: Path, suffix: str) -> Path:
    """Return a hidden name beside `final`, which no one looking for the final name takes for it."""
    return final.with_name(f".{final.name}.{suffix}")


def _seal(directory: Path) -> None:
    """Write checksums and force everything to the disk, so that the rename cannot overtake the data."""
    files = sorted(path for path in directory.iterdir() if path.is_file())
    checksums = {path.name: sha256(path) for path in files}
    (directory / CHECKSUMS).write_text(json.dumps(checksums, indent=2) + "\n", encoding="utf-8")
    for path in (*files, directory / CHECKSUMS, directory):
        sync(path)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Force a file, or a directory's entries, to the disk. Windows has no handle for a directory and needs none: it
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
