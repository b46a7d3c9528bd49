"""Console output: consoles, number formats, and progress bars."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.text import Text

from folio.activity import PLAIN_SECONDS, TERMINAL_SECONDS, repeated
from folio.notices import printable

LIVE_SECONDS = 0.1
"""Minimum seconds between redraws in a terminal; steps may be much shorter."""


class SafeConsole(Console):
    """A console for texts of strangers and for pipes.

    It prints texts as they are, but control characters as signs; and where its reader has closed (`| head`) it raises
    BrokenPipeError, so that a run can save its state.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as Text, which would drop some control characters without a sign."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is printed, with signs for the control characters of all but rich's own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, where rich would exit the process."""
        raise BrokenPipeError


def make_console() -> Console:
    """Return a console that prints text unchanged, but for control characters: no emoji codes, markup or highlighting."""
    return SafeConsole(emoji=False, markup=False, highlight=False, soft_wrap=False)


def format_count(n: float, noun: str) -> str:
    """Format a number with its noun: "1 step", "2,000 steps"."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def format_times(n: float) -> str:
    """Format a count: "once", "2 times"."""
    return "once" if n == 1 else f"{n:g} times"


def format_duration(seconds: float) -> str:
    """Format seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_number(value: float, decimals: int = 3) -> str:
    """Format a number, and negative zero without its sign."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def format_size(n_bytes: float) -> str:
    """Format bytes in MB or GB."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def format_speed(flops_per_second: float) -> str:
    """Format a speed in GFLOP/s: whole ones from 10 on, two digits of a slower one."""
    speed = flops_per_second / 1e9
    return f"{speed:,.0f} GFLOP/s" if speed >= 10 else f"{speed:.2g} GFLOP/s"


class Progress:
    """A progress bar with a line of metrics in a terminal, or else a plain line every few seconds.

    Where a step takes longer, it says what is being done, and for how long.
    """

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self._metrics = ""
        self._step = 0
        self._last_shown = float("-inf")
        self._doing, self._since = "", time.monotonic()
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        """Show the progress within the context."""
        with (
            self._live or nullcontext(),
            repeated(self._show_activity, TERMINAL_SECONDS),
            self.activity("working"),
        ):
            yield self

    @contextmanager
    def activity(self, words: str) -> Iterator[None]:
        """Show `words` in place of the metrics while the block runs, if that takes long."""
        before = self._doing
        self._doing, self._since = words, time.monotonic()
        try:
            yield
        finally:
            self._doing, self._since = before, time.monotonic()

    def update(self, step: int, metrics: dict[str, str]) -> None:
        """Show the number of completed steps, and metrics by name."""
        self._step, self._since = step, time.monotonic()
        pause = PLAIN_SECONDS if self._live is None else LIVE_SECONDS
        if time.monotonic() - self._last_shown < pause and step < self.total:
            return
        self._metrics = "  ".join(f"{name} {value}".strip() for name, value in metrics.items())
        self._show(self._metrics)

    def _show_activity(self) -> None:
        """Say what is being done if nothing was shown for some time."""
        pause = PLAIN_SECONDS if self._live is None else TERMINAL_SECONDS
        if time.monotonic() - max(self._last_shown, self._since) >= pause:
            self._show(f"{self._doing} ... {time.monotonic() - self._since:.0f} s")

    def _show(self, text: str) -> None:
        self._last_shown = time.monotonic()
        if self._live is not None:
            bar = ProgressBar(total=self.total, completed=self._step, width=min(60, self.console.width))
            self._live.update(
                Group(Text(f"step {self._step:,} of {self.total:,}  {text}"), bar), refresh=True
            )
        else:
            self.console.print(f"step {self._step}/{self.total}  {text}", soft_wrap=True)

    def say(self, text: str | Text) -> None:
        """Print text permanently above the bar."""
        self.console.print(text)
