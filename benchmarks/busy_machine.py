"""Measure training speed beside another busy process, against that on an idle machine.

    python benchmarks/busy_machine.py --write

Each measurement is a run of `folio pretrain plays` in a process of its own, not compiled; the configurations take turns,
and the first step does not count. `folio` sets OMP_WAIT_POLICY=PASSIVE; threads that spin while they wait are shown beside.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import tyro

from folio.runs.directory import RunDirectory
from folio.runtime import available_cores
from support.measurements import add_measurement


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    steps: int = 12
    repeats: int = 3
    write: bool = False
    """Add the figures to busy_machine.json, from which `make docs` fills in benchmarks/README.md."""


def main(arguments: Arguments) -> None:
    """Print tokens per second of each configuration, idle and busy, and their ratio."""
    configurations = {
        "one thread per core": (available_cores(), "PASSIVE"),
        "one thread": (1, "PASSIVE"),
        "one thread per core, which spin": (available_cores(), "ACTIVE"),
    }
    speeds: dict[tuple[str, bool], list[float]] = {}
    for _ in range(arguments.repeats):
        for name, (threads, policy) in configurations.items():
            for is_busy in (False, True):
                with busy_process() if is_busy else nullcontext():
                    speed = tokens_per_second(arguments.steps, threads, policy)
                speeds.setdefault((name, is_busy), []).append(speed)
                print(f"{name}, {'busy' if is_busy else 'idle'}: {speed:,.0f} tokens/s", flush=True)
    rows: list[dict[str, Any]] = []
    for name in configurations:
        idle, busy = (round(statistics.median(speeds[name, is_busy])) for is_busy in (False, True))
        rows.append({"what": name, "idle": idle, "busy": busy, "share": round(busy / idle, 2)})
        print(f"{name}: {idle:,} idle, {busy:,} busy, {busy / idle:.2f}")
    if arguments.write:
        add_measurement(Path(__file__), rows)


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one core busy while the block runs."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def tokens_per_second(steps: int, threads: int, policy: str) -> float:
    """Return the median speed of the steps of a run."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder) / "run")
        flags = [
            "--steps",
            str(steps),
            "--compile",
            "off",
            "--threads",
            str(threads),
            "--validation-tokens",
            "256",
        ]
        subprocess.run(
            [sys.executable, "-m", "folio", "pretrain", "plays", "--run", str(run.path), *flags],
            env={**os.environ, "OMP_WAIT_POLICY": policy},
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        records = run.read_metrics()
    return statistics.median(
        (after["tokens"] - before["tokens"]) / (after["train_seconds"] - before["train_seconds"])
        for before, after in pairwise(records)
    )


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
