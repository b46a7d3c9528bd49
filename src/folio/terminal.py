"""What a person types in a terminal: turns of one or several lines, and the lines of earlier sessions; and what they see.

In Windows, a console edits lines and remembers them itself, and each pasted line is a turn.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from folio.notices import notify

PASTE_SECONDS = 0.05
"""How long after a line another one still belongs to it. A terminal hands over pasted lines at once."""
REMEMBERED_LINES = 1000


def has_display() -> bool:
    """Return whether a browser can show a page to whoever sits here."""
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in os.environ
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def typed_turns(prompt: str, history: Path) -> Iterator[str]:
    """Yield what the user types, a turn at a time, until Ctrl-D or a second Ctrl-C.

    Lines that are pasted together are one turn; a line that begins with / is always one of its own. The first Ctrl-C
    clears the line. The arrow keys bring back earlier lines, also those of the sessions before, which `history` keeps.
    """
    load_history(history)
    was_interrupted = False
    while True:
        try:
            turn = typed_turn(prompt)
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            if was_interrupted:
                return
            was_interrupted = True
            notify("Ctrl-C again leaves, as does Ctrl-D.")
            continue
        was_interrupted = False
        save_history(history)
        yield turn


def typed_turn(prompt: str) -> str:
    """Return a line, with those that were pasted after it. Raises EOFError for Ctrl-D on an empty line."""
    lines = [input(prompt)]
    with suppress(EOFError):
        while not lines[0].startswith("/") and is_more_waiting():
            lines.append(input())
    return "\n".join(lines)


def is_more_waiting() -> bool:
    """Return whether the terminal holds more than the line that was read."""
    try:
        ready, _, _ = select.select([sys.stdin], [], [], PASTE_SECONDS)
    except OSError:  # Windows can ask sockets only
        return False
    return bool(ready)


def load_history(file: Path) -> None:
    """Let the arrow keys bring back the lines of a file, if there is one, and edit the line in all ways of readline."""
    with suppress(ImportError, OSError):
        import readline  # Windows has none

        readline.set_history_length(REMEMBERED_LINES)
        readline.read_history_file(file)


def save_history(file: Path) -> None:
    """Write the lines to the file, where that is possible."""
    with suppress(ImportError, OSError):
        import readline

        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # for the user alone
        readline.write_history_file(file)
