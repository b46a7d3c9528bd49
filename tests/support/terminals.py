"""A terminal to type into, on systems that have pseudo-terminals."""

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches the process
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Terminal:
    """A process in a terminal: what is typed into it, and what it shows."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int) -> None:
        self.process = process
        self.master = master
        self.shown = ""

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def interrupt(self, words: str) -> str:
        """Press Ctrl-C and return what is shown up to and with these words.

        Pressed in the moment in which Python begins to wait for a key, it is noticed at the next one only: press again.
        """
        for _ in range(10):
            self.type("\x03")
            with suppress(AssertionError):
                return self.wait_for(words, 5.0)
        raise AssertionError(f"{words!r} is not in {self.shown!r}")

    def wait_for(self, words: str, seconds: float = 60.0) -> str:
        """Return what is shown up to and with these words, and forget it."""
        end = time.monotonic() + seconds
        while words not in self.shown:
            assert time.monotonic() < end, f"{words!r} is not in {self.shown!r}"
            assert self._read(), f"it ended without {words!r}: {self.shown!r}"
        found = self.shown[: self.shown.index(words) + len(words)]
        self.shown = self.shown[len(found) :]
        return found

    def wait_for_end(self) -> int:
        """Return the exit code; `shown` holds the rest of what was shown."""
        while self._read():
            pass
        return self.process.wait(60)

    def _read(self) -> bool:
        """Read on, and return whether the process may still write. Without what only moves or colors the cursor."""
        if select.select([self.master], [], [], 0.1)[0]:
            try:
                new = os.read(self.master, 65536)
            except OSError:  # Linux's way to say that all is read
                return False
            self.shown = re.sub("\x1b\\[[?0-9;]*[a-zA-Z]|\r", "", self.shown + new.decode(errors="replace"))
            return bool(new)
        return True


@contextmanager
def in_terminal(*arguments: str, columns: int = 80, **environment: str) -> Iterator[Terminal]:
    """Run Python with these arguments in a terminal."""
    pty = pytest.importorskip("pty")
    termios = pytest.importorskip("termios")
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    # The workers of pytest-xdist have a COLUMNS, which would be taken for the width.
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", OWN_TERMINAL, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**inherited, "TERM": "xterm", "PYTHONUTF8": "1", **environment},
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
