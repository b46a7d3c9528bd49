"""Measure how fast a text becomes token shards, and how soon `folio pretrain` trains on them, begun and resumed.

Each size is a JSON Lines file of the first documents of a folder of texts. It is tokenized with each number of processes,
the last of which makes the shards on which a run of tiny sizes is begun, killed after its first checkpoint, and resumed. The
seconds are those from the start of Python to the first line about a step; the memory is the most that the process had. All
work in a temporary folder.

    python benchmarks/tokenize_speed.py --write
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from folio.data.shards import open_shards
from folio.data.streams import find_source
from support.measurements import add_measurement

TINY = (
    *(
        "--device",
        "cpu",
        "--compile",
        "off",
        "--n-layer",
        "2",
        "--n-head",
        "2",
        "--n-embd",
        "32",
        "--mlp-size",
        "64",
    ),
    *("--block-size", "64", "--micro-batch-size", "4", "--tokens-per-step", "256", "--sample-tokens", "1"),
)
"""Of a run in which training itself takes next to no time."""
STEPS = 200


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    data: str = "pretrain"
    """A folder of texts, below a data folder or by its path."""
    megabytes: tuple[int, ...] = (1, 50, 300)
    processes: tuple[int, ...] = (1, 2)
    vocab_size: int = 4096
    write: bool = False
    """Add the figures to tokenize_speed.json, from which `make docs` fills in benchmarks/README.md."""


def make_text(data: str, megabytes: int, path: Path) -> int:
    """Write the first documents of the data as JSON Lines, and return the bytes of their text."""
    n_bytes = 0
    with path.open("w", encoding="utf-8") as file:
        for document in find_source(data).train:
            if n_bytes >= megabytes * 1e6:
                break
            file.write(json.dumps({"text": document.text}) + "\n")
            n_bytes += len(document.text.encode())
    if n_bytes < 0.9e6 * megabytes:
        sys.exit(f"{data} has only {n_bytes / 1e6:.0f} MB of text")
    return n_bytes


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "folio", *map(str, arguments)]


def first_step(words: Sequence[str], until: Path | None) -> tuple[float, float]:
    """Run until the first line about a step, and on until a path exists, or to the end; return seconds and peak memory in MB."""
    start = time.monotonic()
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    seconds = 0.0
    for line in process.stdout or ():
        seconds = seconds or (time.monotonic() - start if line.startswith("step ") else 0.0)
        if seconds and until is not None and until.exists():
            process.kill()
            break
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    return seconds, usage.ru_maxrss / 1e3


def measure(arguments: Arguments, megabytes: int, folder: Path) -> list[dict[str, Any]]:
    text, shards, run = folder / "text.jsonl", folder / "shards", folder / "run"
    n_bytes = make_text(arguments.data, megabytes, text)
    rows = []
    for processes in arguments.processes:
        shutil.rmtree(shards, ignore_errors=True)
        start = time.monotonic()
        flags = ("--processes", processes, "--vocab-size", arguments.vocab_size)
        subprocess.run(
            command("tokenize", text, "--out", shards, *flags), check=True, stdout=subprocess.DEVNULL
        )
        seconds = time.monotonic() - start
        row = {"megabytes": megabytes, "processes": processes, "tokenize_seconds": round(seconds, 1)}
        rows.append({**row, "megabytes_per_second": round(n_bytes / 1e6 / seconds, 2)})
        print(rows[-1], flush=True)
    print(f"{len(open_shards(shards).train):,} tokens to train on")
    pretrain = command("pretrain", "--data", shards, "--run", run, *TINY, "--steps", STEPS)
    begun, memory = first_step(pretrain, until=run / "checkpoints" / f"step-{STEPS // 10}")
    resumed, memory_resumed = first_step([*pretrain, "--resume"], until=None)
    start_row = {
        "megabytes": megabytes,
        "start_seconds": round(begun, 1),
        "resume_seconds": round(resumed, 1),
        "peak_megabytes": round(max(memory, memory_resumed)),
    }
    print(start_row, flush=True)
    return [*rows, start_row]


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    rows: list[dict[str, Any]] = []
    for megabytes in arguments.megabytes:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(arguments, megabytes, Path(folder))
    if arguments.write:
        add_measurement(Path(__file__), rows)


if __name__ == "__main__":
    main()
