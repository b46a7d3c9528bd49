"""The exception for mistakes that the user can fix, and what turns the errors of parsers and of the machine into it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_REASON = 300
"""Characters of a library's message that are shown: some quote the whole input."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a system that has no room left, on the disk or for this user."""
NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "Storage size calculation overflowed",
    "Invalid buffer size",
)
"""What PyTorch says, on one device or another, of tensors for which there is no memory, in errors of no type of their own."""


class UserError(Exception):
    """Something the user did or gave that cannot work.

    The message says what is wrong, where, and what to do, in one line. The command line prints it without a
    traceback and exits with code 2.
    """

    exit_code = 2


class FolioWarning(UserWarning):
    """Something that a user should know and that stops nothing, such as data that were left out.

    The command line prints its message as a line of its own.
    """


@contextmanager
def parsing(path: Path, then: str = "") -> Iterator[None]:
    """Raise UserError, which names `path`, for whatever is raised in the block, which only reads and parses that file.

    Parsers fail in many ways: an error of the system, bad syntax, nesting that is too deep, a number that is too long, a
    lack of memory, a panic in a library written in Rust. All are the file's fault. then: what to do, as a sentence.
    """
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise UserError(f"{path} cannot be read ({reason(error)}). {then}".rstrip()) from error


def exhausted(error: BaseException) -> str | None:
    """Return what the machine has run out of, or how a library has broken down, and what to do; None for other errors."""
    if is_out_of_memory(error):
        return (
            "there is not enough memory for this: make the batch, the context or the model smaller, or close other "
            "programs."
        )
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return f"{error.filename or 'a file'} cannot be written ({error.strerror}): make room on the disk."
    if is_panic(error):
        return f"a library gave up ({reason(error)}): most often on a file, such as tokenizer.json, that is damaged."
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is not enough memory, on whichever device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)


def is_panic(error: BaseException) -> bool:
    """Return whether an error is a panic of a Rust library, such as tokenizers: no `Exception`, and of no public class."""
    return type(error).__name__ == "PanicException"


def reason(error: BaseException) -> str:
    """Return an error in one line, short enough for a message."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    words = (
        " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".") or type(error).__name__
    )
    return words if len(words) <= LONGEST_REASON else f"{words[:LONGEST_REASON]} ..."
