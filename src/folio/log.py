"""Console output: the console, notices, number formats, and the progress of a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

PLAIN_SECONDS = 10.0
"""Seconds between two progress lines where there is no terminal."""
LIVE_SECONDS = 0.1
"""Seconds between two redraws in a terminal; steps may be much shorter."""


class Terminal(Console):
    """A console that raises BrokenPipeError when its reader is gone (`| head`), so that a run can save and end."""

    def on_broken_pipe(self) -> None:
        """Raise, where rich would exit the process."""
        raise BrokenPipeError


def make_console() -> Console:
    """Return a console that prints text as it is: no emoji codes, no markup, no highlighted numbers."""
    return Terminal(emoji=False, markup=False, highlight=False, soft_wrap=False)


def tell(notice: str) -> None:
    """Print a notice on stderr, apart from the output that was asked for."""
    print(f"folio: {notice}", file=sys.stderr)


def times(n: float) -> str:
    """Return a count in words: "once", "2 times"."""
    return "once" if n == 1 else f"{n:g} times"


def clock(seconds: float) -> str:
    """Format seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def figure(value: float) -> str:
    """Format a number with three decimals, without a minus sign before zero."""
    return f"{round(value, 3) + 0.0:.3f}"


def size(n_bytes: float) -> str:
    """Format bytes in MB or GB."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


class Progress:
    """The progress of a run: a live bar and a line of metrics in a terminal, else a plain line every few seconds."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self._figures = ""
        self._step = 0
        self._last_shown = float("-inf")
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        """Show the progress while the block runs."""
        if self._live is None:
            yield self
            return
        with self._live:
            yield self

    def update(self, step: int, figures: dict[str, str]) -> None:
        """Show the number of completed steps and some metrics by name."""
        pause = PLAIN_SECONDS if self._live is None else LIVE_SECONDS
        if time.monotonic() - self._last_shown < pause and step < self.total:
            return
        self._last_shown = time.monotonic()
        self._step = step
        self._figures = "  ".join(f"{name} {value}".strip() for name, value in figures.items())
        if self._live is not None:
            self._live.update(self._view(), refresh=True)
        else:
            self.console.print(f"step {step}/{self.total}  {self._figures}", soft_wrap=True)

    def say(self, text: str | Text) -> None:
        """Print text above the bar, where it stays."""
        self.console.print(text)

    def _view(self) -> Group:
        bar = ProgressBar(total=self.total, completed=self._step, width=min(60, self.console.width))
        return Group(Text(f"step {self._step:,} of {self.total:,}  {self._figures}"), bar)
