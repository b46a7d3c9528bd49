"""Measure how long the stages of a recipe take, and the quality of pretraining with fewer steps.

    python benchmarks/recipe_times.py shakespeare --write

`folio run` tells from these figures how long a recipe takes on another machine, by the pace of both. Pretraining is run with
a part of its steps, other stages with a time limit. A whole stage takes the same time to start, to evaluate and to save,
and its steps, or its prompts, take as much longer as there are more of them.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import tyro

import folio
from folio.commands import COMMANDS
from folio.config import read_recipe
from folio.errors import UserError
from folio.files import read_json
from folio.report.reference import Reference
from folio.report.tables import kept_evaluation
from folio.runs.directory import RunDirectory
from folio.runs.pace import FILE, RecipeTimes, measure_pace
from folio.runs.recipes import find_recipes
from folio.runtime import RuntimeConfig, choose_device, describe, start_runtime
from folio.stages.pretrain import PretrainRunConfig


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    recipe: tyro.conf.Positional[Path]
    minutes: float = 2.0
    """Time for each stage after pretraining."""
    shares: tuple[float, ...] = (0.05, 0.1, 0.25)
    """Shares of the pretraining steps, whose validation loss to measure; the model of the last is what the others start
    from."""
    write: bool = False
    """Keep the figures beside the recipe, as times.json."""


def main(arguments: Arguments) -> None:
    """Run the recipe's stages in a folder that is deleted."""
    recipes = find_recipes(arguments.recipe).resolve()
    reference = Reference.beside(recipes / "pretrain.toml")
    if reference is None:
        raise UserError(f"{recipes} has no reference curve of all steps: measure it with time_to_loss.py.")
    n_steps = read_recipe(PretrainRunConfig, recipes / "pretrain.toml").size.steps
    runtime = start_runtime(RuntimeConfig(compile="off"))
    paces, seconds = [], {}
    losses = {"1": round(statistics.mean(reference.losses[-1]), 4)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        limits = {
            **{f"pretrain {share:g}": ["--steps", str(round(share * n_steps))] for share in arguments.shares},
            **{stage: ["--minutes", str(arguments.minutes)] for stage in COMMANDS if stage != "pretrain"},
        }
        for label, flags in limits.items():
            stage, _, share = label.partition(" ")
            if not (recipe := recipes / f"{stage}.toml").exists():
                continue
            shutil.rmtree(output_of(stage, recipe, folder), ignore_errors=True)
            taken = seconds_of([stage, str(recipe), *flags], folder)
            n_all = n_steps if share else None
            seconds[stage] = round(whole(output_of(stage, recipe, folder), taken, n_all), 1)
            paces.append(measure_pace(runtime))
            print(
                f"{label}: {taken:.0f} s, {seconds[stage]:.0f} s if whole; pace {paces[-1]:.3f} s", flush=True
            )
            if share:
                run = RunDirectory(output_of(stage, recipe, folder))
                losses[share] = round(kept_evaluation(run)["val_loss"], 4)
    times = RecipeTimes(
        hardware=describe(choose_device("cpu")),
        folio=folio.__version__,
        date=datetime.now(UTC).date().isoformat(),
        command=f"python benchmarks/recipe_times.py {arguments.recipe}",
        pace=round(statistics.median(paces), 4),
        stages=seconds,
        losses=losses,
        met=earlier.met if (earlier := RecipeTimes.beside(recipes)) else {},  # of instructions.py
    )
    text = json.dumps(asdict(times), indent=1)
    print(text)
    if arguments.write:
        (recipes / FILE).write_text(text + "\n", encoding="utf-8")


def output_of(stage: str, recipe: Path, folder: Path) -> Path:
    """Return what a stage makes."""
    step = import_module(COMMANDS[stage][0]).STAGE
    return folder / step.output(read_recipe(step.config, recipe))


def whole(output: Path, seconds: float, n_steps: int | None) -> float:
    """Return the seconds of a stage with all its steps, or prompts, from those of one with fewer.

    n_steps: all steps, where they are not those that a run with a time limit would make at most.
    """
    run = RunDirectory(output)
    if not run.exists:
        used = read_json(output / "label.json")
        return seconds * used["prompts_there"] / used["prompts_used"]
    records = run.read_metrics()
    in_steps = records[-1]["train_seconds"]
    return in_steps * (n_steps or run.read_info()["most_steps"]) / len(records) + seconds - in_steps


def seconds_of(arguments: Sequence[str], folder: Path) -> float:
    """Return the seconds of a folio command in a folder."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "folio", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
