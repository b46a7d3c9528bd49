"""Ctrl-C at a chosen moment of a command that runs in this process."""

import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupting(io.TextIOBase):
    """A standard output. When it is told certain words, a person presses Ctrl-C, once."""

    def __init__(self, words: str) -> None:
        self.file = sys.stdout
        self.words = words
        self.is_pressed = False

    def write(self, text: str) -> int:
        self.file.write(text)
        if self.words in text and not self.is_pressed:
            self.is_pressed = True
            signal.raise_signal(signal.SIGINT)
        return len(text)

    def flush(self) -> None:
        self.file.flush()


@contextmanager
def ctrl_c_at(words: str) -> Iterator[None]:
    """Within the block, Ctrl-C is pressed when these words are first written to the standard output."""
    writer = Interrupting(words)
    sys.stdout = writer
    try:
        yield
    finally:
        sys.stdout = writer.file
