"""What the rungs came to: lines along the way, a table, texts side by side, a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

from rich.console import Console
from rich.table import Table
from rich.text import Text

from folio.report.figure import save_figure

WIDE = 106
"""Columns that the table needs."""
LECTURE_PARAMETERS = 10_000_000
"""Models from here on are as large as the lecture's last."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a rung came to with one seed: a line of results.jsonl."""

    rung: str
    seed: int
    parameters: int
    val_loss: float
    """In nats a character, over the whole validation text."""
    seconds: float
    """Of training."""
    text: str
    """Two lines of its own."""


@dataclass(frozen=True)
class Row:
    """A rung and its results, at least one."""

    name: str
    added: str
    lecture_loss: float | None
    steps: int
    results: Sequence[Result]

    @property
    def parameters(self) -> int:
        return self.results[0].parameters

    @property
    def val_loss(self) -> float:
        """The mean over all seeds."""
        return mean(result.val_loss for result in self.results)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; of a single one there is none."""
        return stdev(result.val_loss for result in self.results) if len(self.results) > 1 else None

    @property
    def seconds(self) -> float:
        return mean(result.seconds for result in self.results)

    @property
    def loss_text(self) -> str:
        """The loss, with its spread."""
        return f"{self.val_loss:.3f}" + ("" if self.spread is None else f" ± {self.spread:.3f}")

    @property
    def lecture_text(self) -> str:
        """The lecture's loss, or nothing."""
        return "" if self.lecture_loss is None else f"{self.lecture_loss:.2f}"


def tell_result(result: Result, console: Console) -> None:
    """One line, as soon as a rung is trained."""
    figures = f"val loss {result.val_loss:.3f}  {result.seconds:5.1f} s"
    console.print(f"{result.rung:<13}seed {result.seed}  {figures}", soft_wrap=True)


def show_ladder(rows: Sequence[Row], console: Console) -> None:
    """The table, then two lines that each rung wrote."""
    changes = ["", *(f"{row.val_loss - below.val_loss:+.3f}" for below, row in pairwise(rows))]
    console.print()
    if console.width >= WIDE:
        show_columns(rows, changes, console)
    else:
        show_entries(rows, changes, console)
    console.print("Losses in nats a character.", style="dim")
    if any(row.name == "scale_up" and row.parameters < LECTURE_PARAMETERS for row in rows):
        console.print("The lecture's last is that of 10.8 million weights, on a GPU.", style="dim")
    console.print("\nTwo lines from each", style="bold")
    texts = Table.grid(padding=(0, 2))
    texts.add_column(style="bold", no_wrap=True)
    texts.add_column(overflow="fold")
    for row in rows:
        texts.add_row(row.name, Text(row.results[0].text))
    console.print(texts)
    console.print()


def show_columns(rows: Sequence[Row], changes: Sequence[str], console: Console) -> None:
    """A line for each rung."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("rung", "what was added"):
        table.add_column(name, no_wrap=True)
    for name in ("parameters", "val loss", "change", "seconds", "lecture"):
        table.add_column(name, justify="right", no_wrap=True)
    for row, change in zip(rows, changes, strict=True):
        table.add_row(
            Text(row.name, "bold"),
            row.added,
            f"{row.parameters:,}",
            row.loss_text,
            change,
            f"{row.seconds:.1f}",
            row.lecture_text,
        )
    console.print(table)


def show_entries(rows: Sequence[Row], changes: Sequence[str], console: Console) -> None:
    """The same where the console is too narrow for columns: some lines for each rung."""
    for row, change in zip(rows, changes, strict=True):
        lecture = f", lecture {row.lecture_text}" if row.lecture_text else ""
        moved = f" ({change})" if change else ""
        console.print(Text.assemble((row.name, "bold"), f"  {row.added}"))
        console.print(f"  val loss {row.loss_text}{moved}{lecture}")
        console.print(f"  {row.parameters:,} parameters, {row.seconds:.1f} s")


def draw_ladder(rows: Sequence[Row], path: Path) -> None:
    """The losses from rung to rung beside the lecture's. Raises UserError where the picture cannot be written."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(5.0, 0.8 * len(rows) + 1.5), 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    losses = [row.val_loss for row in rows]
    axes.plot(range(len(rows)), losses, color="tab:blue", marker="o", label="folio, here")
    axes.errorbar(
        range(len(rows)), losses, yerr=[row.spread or 0.0 for row in rows], color="tab:blue", capsize=4
    )
    told = [(x, row.lecture_loss) for x, row in enumerate(rows) if row.lecture_loss is not None]
    if told:
        xs, theirs = zip(*told, strict=True)
        axes.scatter(
            xs,
            theirs,
            s=80,
            marker="D",
            facecolors="none",
            edgecolors="tab:orange",
            label="the lecture, at its own size",
        )
    for x, loss in enumerate(losses):
        axes.annotate(f"{loss:.2f}", (x, loss), xytext=(0, 10), textcoords="offset points", ha="center")
    axes.set_xticks(range(len(rows)), [row.name for row in rows], rotation=40, ha="right")
    axes.margins(y=0.15)
    axes.set_ylabel("validation loss (nats per character)")
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)
