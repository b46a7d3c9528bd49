"""Print a text while a model writes it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from rich.cells import cell_len

from folio.log import make_console
from folio.notices import printable

TAB = 8
"""Columns between tab stops."""
JOINER = "\N{ZERO WIDTH JOINER}"


def print_pieces(pieces: Iterable[str]) -> None:
    """Print a text piece by piece, each at once, and end the line, also where Ctrl-C interrupts the writing.

    In a terminal, control characters become signs, and lines break between words. A pipe or a file gets the exact text.
    """
    console = make_console()
    lines = Lines(lambda: console.width) if console.is_terminal else Verbatim()
    try:
        for piece in pieces:
            _write(lines.add(piece))
    finally:
        _write(lines.rest() + "\n")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


class Verbatim:
    """A text that is passed on as it comes."""

    def add(self, text: str) -> str:
        """Take the next piece of the text, and return it."""
        return text

    def rest(self) -> str:
        """Return "": nothing is held back."""
        return ""


class Lines:
    """A text that grows, broken between words at the right edge of a terminal.

    A word is held back until it is complete or fills a line, so that nothing on the screen is ever changed. Between
    characters that are two columns wide, such as Chinese ones, a line may break too. Spaces at the end of a line are left
    out, all others stay.

    width: returns the columns of the terminal, which may change.
    """

    def __init__(self, width: Callable[[], int]) -> None:
        self.width = width
        self._column = 0
        """Columns of the line that are filled, without the spaces held back."""
        self._spaces = 0
        """Columns after the last word that are printed with the next one, if that stays on the line."""
        self._word = ""

    def add(self, text: str) -> str:
        """Take the next piece of the text, and return what can be printed now."""
        return "".join(map(self._add_character, printable(text)))

    def rest(self) -> str:
        """Return what was held back: the last word."""
        word, self._word = self._word, ""
        if not word:
            return ""
        if self._column + self._spaces + cell_len(word) > self.width():
            opening, self._column = "\n" if self._column else "", 0
        else:
            opening, self._column = " " * self._spaces, self._column + self._spaces
        self._column, self._spaces = self._column + cell_len(word), 0
        return opening + word

    def _add_character(self, character: str) -> str:
        if character == "\n":
            ready = self.rest() + "\n"
            self._column = self._spaces = 0
        elif character == " ":
            ready = self.rest()
            self._spaces += 1
        elif character == "\t":
            ready = self.rest()
            self._spaces += TAB - (self._column + self._spaces) % TAB
        else:
            ready = self.rest() if self._may_break_before(character) else ""
            self._word += character
        return ready

    def _may_break_before(self, character: str) -> bool:
        """Return whether a character need not stand on the same line as the word before it."""
        if not self._word or cell_len(character) == 0 or self._word[-1] == JOINER:
            return False
        is_wide = cell_len(character) == 2 or cell_len(self._word[-1]) == 2
        return is_wide or cell_len(self._word + character) > self.width()
