"""Every operation on the files of a folder, in the process that calls this: counted, and made to fail or to kill."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate")
"""Audit events (PEP 578) of changes of files, other than that one is opened."""
FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
Act = Callable[[bool], None]


def before_each(folder: Path, act: Act) -> None:
    """From now on call `act` before each operation on what is in the folder, with whether it needs room on the disk.

    Where `act` raises, the operation fails with that. What libraries in other languages do by themselves is not seen.
    """
    prefix = os.path.abspath(folder)

    def is_inside(path: Any) -> bool:
        return isinstance(path, str | bytes | os.PathLike) and os.path.abspath(os.fsdecode(path)).startswith(
            prefix
        )

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and is_inside(arguments[0]):
            act(bool(arguments[2] & FOR_WRITING))
        elif event in CHANGES and is_inside(arguments[0]):
            act(event == "os.mkdir")

    fsync = os.fsync

    def synced(handle: int) -> None:
        act(True)
        fsync(handle)

    os.fsync = synced  # not among the events
    sys.addaudithook(hook)


def from_number(number: int, act: Callable[[], None], *, of_writing: bool = False) -> Act:
    """Something that is done at the n-th operation and at all later ones, where it returns; or at those that need room."""
    calls = iter(range(1, 10**9))

    def at_each(needs_room: bool) -> None:
        if (needs_room or not of_writing) and next(calls) >= number:
            act()

    return at_each
