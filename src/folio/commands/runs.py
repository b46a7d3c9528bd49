"""List runs: stage, status, metrics, size on disk, time of the last change, and the next command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

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
from folio.runs.stages import STAGES, kept_record, next_commands


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


def find_runs(folder: Path) -> Iterator[RunDirectory]:
    """Yield the runs at and below a folder by name, without descending into runs."""
    for path, folders, files in os.walk(folder):
        folders.sort()
        if "run.json" in files:
            folders.clear()
            yield RunDirectory(Path(path))


def summarize(run: RunDirectory) -> Summary:
    """Summarize a run's files; a run with a damaged run.json has the status "damaged"."""
    n_bytes, changed = disk_use(run.path)
    name = str(run.path)
    try:
        info = run.read_info()
    except UserError:
        return Summary(name, "", "damaged", "", format_size(n_bytes), changed, "")
    records = run.read_metrics()
    status, stage = info["status"], info["stage"]
    if status == "running" and not run.is_in_use:
        status = "killed"
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


def disk_use(folder: Path) -> tuple[int, datetime]:
    """Return the total size of the files in a folder, and the time of the last change; files may vanish meanwhile."""
    n_bytes, latest = 0, 0.0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                stat = os.stat(os.path.join(path, name))
            except OSError:
                continue
            n_bytes += stat.st_size
            latest = max(latest, stat.st_mtime if name != ".lock" else 0.0)
    return n_bytes, datetime.fromtimestamp(latest)


def progress(info: dict[str, Any], records: Sequence[dict[str, Any]]) -> str:
    """Return the completed and planned steps, as in " 300/920", or "" if they are unknown."""
    steps = info["plan"].get("steps")
    done = records[-1].get("step") if records else 0
    return f" {done}/{steps}" if steps and done is not None else ""


def kept_metrics(stage: str, records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the metrics of a run's kept model."""
    names = STAGES[stage].metrics if stage in STAGES else {}
    kept = kept_record(records, names) or {}
    return {name: kept[name] for name in names if name in kept}


def next_command(run: RunDirectory, status: str, stage: str) -> str:
    """Return the command that resumes an unfinished run or follows a finished one, or "" if there is none."""
    if status == "running":
        return ""
    if status == "finished":
        return next(iter(next_commands(run)), "")
    return f"folio {stage} --run {shlex.quote(str(run.path))} --resume"


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
