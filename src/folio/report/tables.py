"""Read a run's evaluations, and print tables and the next commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from folio.errors import UserError
from folio.log import format_duration, format_size
from folio.runs.directory import RunDirectory
from folio.runs.stages import STAGES, kept_record


def kept_evaluation(run: RunDirectory) -> dict[str, Any]:
    """Return the record of the model that a stage's run keeps. Raises UserError if there is none."""
    kept = kept_record(run.read_metrics(), STAGES[run.read_info()["stage"]].metrics)
    if kept is None:
        raise UserError(f"{run.metrics_file} is damaged: it holds no evaluation. The model is {run.best}.")
    return kept


def training_cost(run: RunDirectory) -> str:
    """Return a finished run's training time and peak memory as text."""
    seconds = run.read_metrics()[-1]["train_seconds"]
    return f"{format_duration(seconds)}, {format_size(run.read_info()['peak_memory'])} of memory at peak"


def show_next(commands: Sequence[str], console: Console) -> None:
    """Print suggested next commands."""
    console.print(Text("\nNext", style="bold"))
    for command in commands:
        console.print(f"  {command}", soft_wrap=True)


def show_table(lines: Mapping[str, str], console: Console) -> None:
    """Print names and values in two columns; long values wrap. Values stand below names that would leave them no room."""
    from rich.padding import Padding
    from rich.table import Table

    if max(map(len, lines), default=0) > console.width // 2:
        for name, text in lines.items():
            console.print(Text(name, style="bold"), soft_wrap=True)
            console.print(Padding(Text(text, overflow="fold"), (0, 0, 0, 2)))
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines.items():
        table.add_row(name, Text(text))
    console.print(table)
