"""Tables that every stage shows: results, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from folio.errors import UserError
from folio.files import read_lines
from folio.runs.directory import RunDirectory


def evaluations(run: RunDirectory, figure: str) -> list[dict[str, Any]]:
    """The records in which this figure was measured. Raises UserError where there is none."""
    found = [record for record in read_lines(run.metrics_file) if figure in record]
    if not found:
        raise UserError(f"{run.metrics_file} is damaged: it holds no evaluation. The model is {run.best}.")
    return found


def show_next(commands: Sequence[str], console: Console) -> None:
    """What a person may do now."""
    console.print(Text("\nNext", style="bold"))
    for command in commands:
        console.print(f"  {command}", soft_wrap=True)


def show_table(lines: dict[str, str], console: Console) -> None:
    """Names and what belongs to them, in two columns, or one below the other where the console is narrow."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines.items():
        table.add_row(name, Text(text))
    console.print(table)
