"""List runs: stage, status, metrics, size on disk, time of the last change, and the next command."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import tyro
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from folio.config import Settings
from folio.errors import UserError
from folio.log import format_number, format_size, make_console
from folio.runs.directory import RunDirectory
from folio.runs.flags import read_config
from folio.runs.listing import disk_use, find_runs, kept_metrics, next_command, progress, status_of


@dataclass(frozen=True, kw_only=True)
class RunsConfig(Settings):
    """Settings of `folio runs`."""

    folder: tyro.conf.Positional[Path] = Path("runs")
    """A folder that contains runs at any depth, or one run."""


@dataclass(frozen=True)
class Summary:
    """The columns of one run."""

    run: str
    stage: str
    status: str
    metrics: str
    size: str
    changed: datetime
    command: str
    """The next command, or "" if there is none."""

    @property
    def cells(self) -> tuple[str, ...]:
        """The columns as text."""
        when = f"{self.changed:%Y-%m-%d %H:%M}"
        return self.run, self.stage, self.status, self.metrics, self.size, when, self.command


def main(arguments: Sequence[str]) -> None:
    """Run `folio runs [FOLDER]`."""
    config = read_config(RunsConfig, arguments, recipe=None, prog="folio runs", description=__doc__)
    if not os.path.isdir(config.folder):
        raise UserError(f"{config.folder}: no such folder. `folio run shakespeare` creates the first runs.")
    summaries = [summarize(run) for run in find_runs(config.folder)]
    if not summaries:
        raise UserError(f"{config.folder} contains no runs. `folio run shakespeare` creates the first ones.")
    summaries.sort(key=lambda summary: summary.changed)
    show(summaries, make_console())


def summarize(run: RunDirectory) -> Summary:
    """Summarize a run's files; a run with a damaged run.json has the status "damaged"."""
    n_bytes, changed = disk_use(run.path)
    name = str(run.path)
    try:
        info = run.read_info()
    except UserError:
        return Summary(name, "", "damaged", "", format_size(n_bytes), changed, "")
    records = run.read_metrics()
    status, stage = status_of(run, info), info["stage"]
    return Summary(
        run=name,
        stage=stage,
        status=status + ("" if status == "finished" else progress(info, records)),
        metrics=", ".join(
            f"{name} {format_number(value)}" for name, value in kept_metrics(stage, records).items()
        ),
        size=format_size(n_bytes),
        changed=changed,
        command=next_command(run, status, stage),
    )


def show(summaries: Sequence[Summary], console: Console) -> None:
    """Print a table, or a paragraph for each run if the table does not fit."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("run", "stage", "status", "metrics", "size", "changed", "next"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "size" else "left")
    for summary in summaries:
        table.add_row(*map(Text, summary.cells))
    if Measurement.get(console, console.options.update(max_width=10_000), table).maximum <= console.width:
        console.print(table)
        return
    for number, summary in enumerate(summaries):
        run, *facts, command = summary.cells
        console.print(Text(("\n" if number else "") + run, style="bold"))
        console.print(Text(", ".join(filter(None, facts))))
        if command:
            console.print(f"  {command}", soft_wrap=True)
