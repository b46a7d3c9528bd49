"""Find runs, and say of each where it stands and what may follow."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from folio.runs.directory import RunDirectory
from folio.runs.stages import STAGES, kept_record, next_commands


def find_runs(folder: Path) -> Iterator[RunDirectory]:
    """Yield the runs at and below a folder by name, without descending into runs."""
    for path, folders, files in os.walk(folder):
        folders.sort()
        if "run.json" in files:
            folders.clear()
            yield RunDirectory(Path(path))


def status_of(run: RunDirectory, info: Mapping[str, Any]) -> str:
    """Return the status in a run.json, or "killed" where it says "running" and no process owns the run any more."""
    status = str(info["status"])
    return "killed" if status == "running" and not run.is_in_use else status


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


def progress(info: Mapping[str, Any], records: Sequence[dict[str, Any]]) -> str:
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
