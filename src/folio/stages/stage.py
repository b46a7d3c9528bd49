"""What the stages share that start from a model: their settings, and the way from the start to a finished run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import tyro
from rich.console import Console

from folio.config import from_table, read_config
from folio.errors import UserError
from folio.files import read_lines
from folio.log import Progress, make_console
from folio.report.loss_figure import plot_losses
from folio.report.tables import show_table
from folio.runs.directory import RunDirectory
from folio.runs.recipes import take_recipe
from folio.runs.recorder import Watch
from folio.runs.samples import Writer
from folio.runs.settings import stored_config
from folio.runs.state import Training
from folio.runs.train import begin_run, resume, train
from folio.runtime import Runtime, RuntimeConfig, peak_memory, restore_runtime, start_runtime
from folio.training.optimizer import OptimizerConfig
from folio.training.plan import Plan
from folio.training.schedule import ScheduleConfig

STAGES = ("sft", "label", "reward", "dpo", "ppo", "grpo")


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """What every stage that starts from a model is told."""

    model: tyro.conf.Positional[Path] = Path("runs/shakespeare")
    """Where to start: a run, a checkpoint in it, or any model directory. Or a recipe (.toml), or a folder with one."""
    run: Path | None = None
    """Directory for all that the run leaves behind; by default runs/, the model's name and the stage's."""
    resume: bool = False
    """Go on with the run in that directory, if there is one."""
    seed: int = 1
    """Order of the data and draws follow from it."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(decay_fraction=1.0))
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed is {self.seed}: it must be at least 0 and below 2^63.")


Config = TypeVar("Config", bound=TuningConfig)


@dataclass(frozen=True)
class Prepared:
    """A run that can begin, or go on.

    facts: what a person is told first. origin, digest: what it learns from, and a SHA-256 of that. shown: names of
    the figures beside the progress bar.
    """

    training: Training
    writer: Writer
    facts: dict[str, str]
    origin: str
    digest: str
    shown: Sequence[str] = ("loss", "val_loss")


@dataclass(frozen=True)
class Stage:
    """A verb that trains.

    prepare: loads and builds. finish: what is left to do with the trained model, and the picture. show: tells what came
    of it, and what to do next.
    """

    name: str
    purpose: str
    config: type[Any]
    prepare: Callable[[Any, RunDirectory, Console], Prepared]
    finish: Callable[[RunDirectory, Prepared], None]
    show: Callable[[RunDirectory, Console], None]

    def main(self, arguments: Sequence[str]) -> None:
        """`folio STAGE [MODEL | RECIPE] [flags]`."""
        recipe, flags = take_recipe(self.name, arguments)
        prog = f"folio {self.name} {recipe or ''}".strip()
        config = read_config(self.config, flags, recipe=recipe, prog=prog, description=self.purpose)
        self.carry_out(config, make_console())

    def carry_out(self, config: Any, console: Console) -> None:
        """Begin the run, or go on with it, to the end."""
        run = RunDirectory(config.run or default_run(config.model, self.name))
        if run.exists:
            with run.owned():
                config = stored_config(run, config, stage=self.name, resume=config.resume)
        with run.owned():
            if run.exists and run.read_info()["status"] == "finished":
                console.print(f"{run.path} is finished already. This is what it made:", soft_wrap=True)
            else:
                self._train(config, run, console)
            self.show(run, console)

    def _train(self, config: TuningConfig, run: RunDirectory, console: Console) -> None:
        known = run.read_info() if run.exists else {}
        prepared = self.prepare(config, run, console)
        training = prepared.training
        show_table(prepared.facts, console)
        # A run that goes on starts from its checkpoint; the model that it began with may be another one now.
        before = known.get("before") or training.evaluation(training.model)
        if not run.exists:
            begin_run(self.name, config, training, run, origin=prepared.origin, digest=prepared.digest)
        run.set_status("running", before=before)
        unfinished = resume(training, run, console)
        progress = Progress(console, training.plan.steps)
        watch = Watch(training, run, progress, prepared.writer, prepared.shown)
        train(watch, config.schedule, config.optimizer.max_norm, console, unfinished)
        self.finish(run, prepared)
        run.set_status("finished", peak_memory=peak_memory(training.runtime.device))


def draw_losses(run: RunDirectory, prepared: Prepared) -> None:
    """loss.png."""
    records = read_lines(run.metrics_file)
    plot_losses(records, records[-1]["tokens"], run.plot, None)


def default_run(model: Path, stage: str) -> Path:
    """runs/NAME-STAGE, for a model runs/NAME or runs/NAME-ANOTHER_STAGE, or one that is kept in such a run."""
    place = model.resolve()
    if place.parent.name == "checkpoints":
        place = place.parent.parent
    name = (place.parent if place.name == "best" else place).name
    for other in STAGES:
        name = name.removesuffix(f"-{other}")
    return Path("runs") / f"{name}-{stage}"


def uncompiled(config: RuntimeConfig) -> RuntimeConfig:
    """The same without compiling: where each batch has another length, it would be for nothing. Raises UserError where
    it is asked for."""
    if config.compile == "on":
        raise UserError(
            "--compile on: this stage is not compiled, for each of its batches has another length."
        )
    return replace(config, compile="off")


def choices(
    run: RunDirectory, config: RuntimeConfig, digest: str, plan: Callable[[], Plan]
) -> tuple[Runtime, Plan]:
    """Where to compute and how many steps to make: as an earlier process chose, or anew.

    Raises UserError if the run was started with other data.
    """
    if not run.exists:
        return start_runtime(config), plan()
    info = run.read_info()
    if info["text_sha256"] != digest:
        raise UserError(
            f"{run.path} was started with other data, another model or another reward model than are there now: "
            "bring them back, or choose another --run."
        )
    return restore_runtime(info["runtime"]), from_table(Plan, info["plan"], str(run.info_file))
