"""Measure the seconds of training until the validation loss of nanoGPT's GPU recipe is reached: val <= 1.4697.

    python benchmarks/time_to_loss.py [--seeds 3] [--recipe plays] [--write] [--write-reference]

Each seed is one run of `folio pretrain` in a process of its own. Training seconds are those inside optimizer
steps; compiling comes before the first of them, and evaluating, saving and sampling between them. The wall clock
has everything, the start of Python included. --write-reference stores the curves beside the recipe.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from folio.files import read_lines
from folio.runs.directory import RunDirectory
from folio.runs.recipes import find_recipes
from support.measurements import add_measurement

TARGET = 1.4697
LANDMARKS = {"the lecture, on a data-center GPU": 1.48, "nanoGPT, on a data-center GPU": 1.4697}


@dataclass
class Arguments:
    """What to run."""

    seeds: int = 3
    recipe: Path = Path("plays")
    write: bool = False
    """Add the figures to time_to_loss.json, from which `make docs` fills in benchmarks/README.md."""
    write_reference: bool = False
    """Keep the curves beside the recipe; later runs are compared with them."""


def main() -> None:
    """Run, print a table, and keep the reference curves if asked to."""
    arguments = tyro.cli(Arguments, description=__doc__)
    curves, infos = [], []
    rows: list[dict[str, Any]] = []
    print(
        f"{'seed':>4} {'to target':>10} {'training':>9} {'wall':>7} {'best val':>9} {'tokens/s':>9} {'memory':>8}"
    )
    for seed in range(1, arguments.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            run = RunDirectory(Path(folder) / "run")
            command = [sys.executable, "-m", "folio", "pretrain", str(arguments.recipe)]
            start = time.perf_counter()
            subprocess.run(
                [*command, "--seed", str(seed), "--run", str(run.path)], check=True, stdout=subprocess.DEVNULL
            )
            wall = time.perf_counter() - start
            records, info = read_lines(run.metrics_file), run.read_info()
        evaluated = [record for record in records if "val_loss" in record]
        reached = [record["train_seconds"] for record in evaluated if record["val_loss"] <= TARGET]
        last = records[-1]
        print(
            f"{seed:4} {f'{reached[0]:.0f} s' if reached else 'not':>10} {last['train_seconds']:7.0f} s {wall:5.0f} s "
            f"{min(record['val_loss'] for record in evaluated):9.4f} {last['tokens'] / last['train_seconds']:9,.0f} "
            f"{info['peak_memory'] / 1e9:5.2f} GB",
            flush=True,
        )
        rows.append(
            {
                "seed": seed,
                "seconds_to_target": round(reached[0]) if reached else None,
                "training_seconds": round(last["train_seconds"]),
                "wall_seconds": round(wall),
                "best_val_loss": round(min(record["val_loss"] for record in evaluated), 4),
                "tokens_per_second": round(last["tokens"] / last["train_seconds"]),
                "memory_gb": round(info["peak_memory"] / 1e9, 2),
            }
        )
        curves.append([(record["step"] / info["plan"]["steps"], record["val_loss"]) for record in evaluated])
        infos.append(info)
    finals = [min(loss for _, loss in curve) for curve in curves]
    spread = statistics.stdev(finals) if len(finals) > 1 else 0.0
    print(
        f"best val: mean {statistics.mean(finals):.4f}, standard deviation {spread:.4f}; {infos[0]['hardware']}"
    )
    if arguments.write:
        add_measurement(Path(__file__), rows)
    if arguments.write_reference:
        path = find_recipes(arguments.recipe) / "pretrain.reference.json"
        reference = {
            "hardware": f"{infos[0]['hardware']}, torch {infos[0]['torch']}, {infos[0]['runtime']['precision']}",
            "text_sha256": infos[0]["data_sha256"],
            "plan": infos[0]["plan"],
            "shares": [round(share, 4) for share, _ in curves[0]],
            "losses": [[round(curve[i][1], 4) for curve in curves] for i in range(len(curves[0]))],
            "landmarks": LANDMARKS,
        }
        path.write_text(json.dumps(reference, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
