"""Read a run's evaluations, and print tables and the next commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from folio.errors import UserError
from folio.files import read_lines
from folio.log import format_duration, format_size
from folio.runs.directory import RunDirectory


def evaluations(run: RunDirectory, metric: str) -> list[dict[str, Any]]:
    """Return the records of metrics.jsonl that have this metric. Raises UserError if there are none."""
    found = [record for record in read_lines(run.metrics_file) if metric in record]
    if not found:
        raise UserError(f"{run.metrics_file} is damaged: it holds no evaluation. The model is {run.best}.")
    return found


def best_evaluation(run: RunDirectory) -> dict[str, Any]:
    """Return the record with the lowest validation loss. Raises UserError if there is none."""
    return min(evaluations(run, "val_loss"), key=lambda record: float(record["val_loss"]))


def training_cost(run: RunDirectory) -> str:
    """Return a finished run's training time and peak memory as text."""
    seconds = read_lines(run.metrics_file)[-1]["train_seconds"]
    return f"{format_duration(seconds)}, {format_size(run.read_info()['peak_memory'])} of memory at peak"


def show_next(commands: Sequence[str], console: Console) -> None:
    """Print suggested next commands."""
    console.print(Text("\nNext", style="bold"))
    for command in commands:
        console.print(f"  {command}", soft_wrap=True)


def show_table(lines: Mapping[str, str], console: Console) -> None:
    """Print names and values in two columns; long values wrap."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines.items():
        table.add_row(name, Text(text))
    console.print(table)
