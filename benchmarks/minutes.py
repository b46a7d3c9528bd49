"""Measure how long `folio pretrain --minutes N` takes, on an idle machine and beside a busy process.

    python benchmarks/minutes.py --write

The wall clock has everything from the start of Python to its end. The second text has some ten million characters.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from busy_machine import busy_process
from folio.data.corpora import load_corpus
from folio.runs.directory import RunDirectory
from support.measurements import add_measurement


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    minutes: tuple[float, ...] = (1.0, 4.0, 10.0)
    megabytes: tuple[float, ...] = (1.1, 10.0)
    """Sizes of the text, which is Tiny Shakespeare, over and over."""
    write: bool = False
    """Add the figures to minutes.json, from which `make docs` fills in benchmarks/README.md."""


def main(arguments: Arguments) -> None:
    """Print the seconds of each run, and what they are of those that were asked for."""
    rows: list[dict[str, Any]] = []
    plays = load_corpus("shakespeare").text
    with tempfile.TemporaryDirectory() as folder:
        for megabytes in arguments.megabytes:
            text = Path(folder) / f"{megabytes:g}.txt"
            length = int(1e6 * megabytes)
            text.write_text((plays * (length // len(plays) + 1))[:length], encoding="utf-8")
            for minutes in arguments.minutes:
                for is_busy in (False, True):
                    run = RunDirectory(Path(folder) / f"{megabytes:g}-{minutes:g}-{is_busy}")
                    with busy_process() if is_busy else nullcontext():
                        seconds = seconds_of(text, minutes, run)
                    rows.append(
                        {
                            "megabytes": megabytes,
                            "minutes": minutes,
                            "machine_is": "busy" if is_busy else "idle",
                            "seconds": round(seconds, 1),
                            "share": round(seconds / 60 / minutes, 3),
                            "steps": len(run.read_metrics()),
                        }
                    )
                    print(rows[-1], flush=True)
    if arguments.write:
        add_measurement(Path(__file__), rows)


def seconds_of(text: Path, minutes: float, run: RunDirectory) -> float:
    """Return the seconds of a run on a text with a time limit."""
    start = time.perf_counter()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "folio",
            "pretrain",
            "--data",
            str(text),
            "--minutes",
            str(minutes),
            "--run",
            str(run.path),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
