"""Say what is being done, so that no command is silent for long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

Result = TypeVar("Result")
FIRST_SECONDS = 1.0
"""An activity that is shorter is not shown."""
TERMINAL_SECONDS = 1.0
PLAIN_SECONDS = 4.0
"""Seconds between two messages, in a terminal and elsewhere."""
POLL_SECONDS = 0.1
"""Ctrl-C is noticed so soon."""


@contextmanager
def activity(words: str | Callable[[], str]) -> Iterator[None]:
    """Show `words` and the seconds so far on stderr while the block runs, if that takes longer than a moment.

    In a terminal it is one line, rewritten each second and gone at the end. words: a text, or what returns one that
    changes.
    """
    line = StatusLine()
    start = time.monotonic()

    def show() -> None:
        line.show(f"{words if isinstance(words, str) else words()} ... {time.monotonic() - start:.0f} s")

    try:
        with repeated(show, line.pause):
            yield
    finally:
        line.clear()


@contextmanager
def repeated(call: Callable[[], object], pause: float) -> Iterator[None]:
    """Call a function every `pause` seconds while the block runs, for the first time after FIRST_SECONDS.

    A thread does it, which needs the interpreter only for an instant: also while a library computes.
    """
    done = threading.Event()

    def run() -> None:
        wait = FIRST_SECONDS
        while not done.wait(wait):
            with suppress(OSError, ValueError):  # whoever reads what it shows has gone
                call()
            wait = pause

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class StatusLine:
    """A line on stderr that says what is being done: rewritten in a terminal, else printed anew."""

    def __init__(self) -> None:
        self._rewrites = sys.stderr.isatty()
        self._length = 0
        self.pause = TERMINAL_SECONDS if self._rewrites else PLAIN_SECONDS

    def show(self, text: str) -> None:
        """Show a text in place of the one before."""
        if self._rewrites:
            sys.stderr.write(f"\r{text:<{self._length}}")
            self._length = len(text)
        else:
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line from a terminal."""
        if self._length:
            with suppress(OSError, ValueError):
                sys.stderr.write(f"\r{' ' * self._length}\r")
                sys.stderr.flush()


def interruptible(function: Callable[[], Result]) -> Result:
    """Return what `function` returns, a long call into a library that does not look for Ctrl-C.

    It runs in a thread, so that Ctrl-C is noticed here; the call itself goes on in the background until the process ends.
    Raises what it raises.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # raised below, in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_SECONDS)
    if errors:
        raise errors[0]
    return results[0]
