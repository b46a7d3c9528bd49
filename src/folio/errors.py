"""The exception for mistakes that the user can fix, and what turns the errors of parsers into it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_REASON = 300
"""Characters of a library's message that are shown: some quote the whole input."""


class UserError(Exception):
    """Something the user did or gave that cannot work.

    The message says what is wrong, where, and what to do, in one line. The command line prints it without a
    traceback and exits with code 2.
    """


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
