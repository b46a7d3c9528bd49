"""How often a small model adds right before and after GRPO with a checker, and how long all of it takes.

    python benchmarks/arithmetic.py [--seeds 3]

Each seed is the whole recipe arithmetic: `folio pretrain`, `folio sft` and `folio grpo`, a process each. What is
measured then are all 2,000 held-out sums, each answered once. Training seconds are those inside optimizer steps,
generation included; wall clock and processor time have everything, the start of Python included. On a machine that does
other things as well, processor time with --threads 1 is what tells. Writes benchmarks/arithmetic.json and docs/arithmetic.png.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from matplotlib.figure import Figure

from folio.data import arithmetic
from folio.files import read_lines
from folio.report.figure import save_figure
from folio.rl.functions import load_function
from folio.rl.rollouts import Prompt, sample_completions
from folio.runs.directory import RunDirectory
from folio.runs.load import load_for_chat
from folio.runs.recipes import find_recipe_file
from folio.tokenizer.chat_template import prompt_ids

ROOT = Path(__file__).parents[1]
STAGES = ("pretrain", "sft", "grpo")
TEMPERATURES = {"sampled": 1.0, "chat": 0.8, "greedy": 0.0}
"""The policy's own, that of `folio chat`, and always the likeliest token."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    seeds: int = 3
    threads: int | None = None
    """CPU threads; by default one for each core."""


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    rows = []
    for seed in range(1, config.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            row, machine = measured(Path(folder), seed, config.threads)
        rows.append(row)
        print(table_row(row), flush=True)
    report = {"machine": machine, "seeds": rows}
    (ROOT / "benchmarks" / "arithmetic.json").write_text(
        json.dumps(report, indent=1) + "\n", encoding="utf-8"
    )
    draw(rows, ROOT / "docs" / "arithmetic.png")


def measured(folder: Path, seed: int, threads: int | None) -> tuple[dict[str, Any], str]:
    """Train a model through all stages in a folder, and count what it gets right after each that makes it
    answer. Also what it was trained on."""
    runs = {stage: RunDirectory(folder / stage) for stage in STAGES}
    row: dict[str, Any] = {"seed": seed}
    for stage, before in zip(STAGES, (None, *STAGES), strict=False):
        command = [sys.executable, "-m", "folio", stage, "arithmetic"]
        command += [str(runs[before].path)] if before else []
        command += ["--run", str(runs[stage].path), "--seed", str(seed)]
        command += ["--threads", str(threads)] if threads else []
        start, busy = time.perf_counter(), processor_seconds()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        records = read_lines(runs[stage].metrics_file)
        row[stage] = {
            "wall": round(time.perf_counter() - start, 1),
            "processor": round(processor_seconds() - busy, 1),
            "training": round(records[-1]["train_seconds"], 1),
        }
        if stage != "pretrain":
            row[stage] |= {name: accuracy(runs[stage].path, t) for name, t in TEMPERATURES.items()}
    info = runs["grpo"].read_info()
    row["curve"] = [(0, 0.0, info["before"]["val_reward"])] + [
        (record["step"], round(record["train_seconds"], 1), record["val_reward"])
        for record in records
        if "val_reward" in record
    ]
    runtime = info["runtime"]
    machine = (
        f"{info['hardware']}, torch {info['torch']}, {runtime['precision']}, threads: {runtime['threads']}"
    )
    return row, machine


def processor_seconds() -> float:
    """Of all processes that this one has started and that have ended, over all their threads."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def accuracy(run: Path, temperature: float) -> float:
    """Share of all held-out sums that a model answers rightly."""
    score = load_function(find_recipe_file("arithmetic/checker.py:score"))
    model, tokenizer = load_for_chat(run)
    _, unseen = arithmetic.problems()
    prompts = [
        Prompt(each.problem, prompt_ids(tokenizer, [{"role": "user", "content": each.problem}]))
        for each in unseen
    ]
    samples = sample_completions(
        model, tokenizer, prompts, max_new_tokens=40, temperature=temperature, seed=1
    )
    return statistics.mean(score(sample.prompt, sample.completion) for sample in samples)


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """How often held-out sums come out right, rollout by rollout, a line for each seed."""
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for row in rows:
        steps, _, shares = zip(*row["curve"], strict=True)
        axes.plot(
            steps, [100 * share for share in shares], marker="o", markersize=4, label=f"seed {row['seed']}"
        )
    axes.axhline(95, color="gray", linestyle="--", linewidth=1)
    axes.set_ylim(0, 100)
    axes.set_xlabel("rollouts of 128 answers")
    axes.set_ylabel("held-out sums answered rightly (%)")
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def table_row(row: dict[str, Any]) -> str:
    """Return a line of the table on the page."""
    figures = [f"{100 * row[stage][name]:.1f}" for name in TEMPERATURES for stage in ("sft", "grpo")]
    seconds = [f"{row[stage][clock]:.0f}" for stage in STAGES for clock in ("processor", "wall")]
    return f"| {' | '.join([str(row['seed']), *figures, *seconds])} |"


if __name__ == "__main__":
    main()
