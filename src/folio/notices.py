"""Notices to the user, and text that is safe to show.

No text reaches a terminal with control characters in it, whoever wrote it: a model, a file, a library. They could change
what the screen already shows, its title, or the clipboard. All that folio prints goes through `printable`.
"""

from __future__ import annotations

import sys

VISIBLE_SIGNS = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: 0x2421,
    **dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
}
"""A sign for each character that a terminal obeys or that turns text around: ␛ for escape, ␍ for carriage return, and �
for those of which Unicode has no picture. Tab and newline stay. A table for `str.translate`."""


def printable(text: str) -> str:
    """Return a text of the same length whose control characters are visible signs (see VISIBLE_SIGNS)."""
    return text.translate(VISIBLE_SIGNS)


def notify(notice: str) -> None:
    """Print a notice to stderr."""
    print(f"folio: {printable(notice)}", file=sys.stderr)
