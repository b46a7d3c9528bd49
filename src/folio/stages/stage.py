"""A stage: a command that trains, from its settings to a finished run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from rich.console import Console

from folio.config import from_table, read_config
from folio.errors import UserError
from folio.files import read_lines
from folio.log import Progress, make_console
from folio.report.loss_figure import plot_losses
from folio.report.tables import show_table
from folio.runs.directory import RunDirectory
from folio.runs.load import stage_of
from folio.runs.recipes import known_recipes, take_recipe
from folio.runs.recorder import Recorder
from folio.runs.samples import SampleSource
from folio.runs.settings import RunConfig, stored_config
from folio.runs.state import Training
from folio.runs.train import begin_run, resume, train_to_end
from folio.runtime import Runtime, RuntimeConfig, peak_memory, restore_runtime, start_runtime
from folio.training.plan import Plan


class StageConfig(Protocol):
    """What the settings of every stage have."""

    @property
    def output(self) -> RunConfig: ...


ConfigT = TypeVar("ConfigT", bound=StageConfig)


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to begin, or to be resumed.

    finish: what is left to do with the trained model, such as the figure. origin, digest: what the run learns from, in
    words, and a SHA-256 of it. facts: what to show first. before: held-out metrics of the model that the run starts
    from. shown: names of the metrics beside the progress bar.
    """

    training: Training
    samples: SampleSource
    finish: Callable[[RunDirectory], None]
    origin: str
    digest: str
    facts: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, float] = field(default_factory=dict)
    shown: Sequence[str] = ("loss", "val_loss")


@dataclass(frozen=True)
class Stage(Generic[ConfigT]):
    """A command that trains, by the name under which `runs/stages.py: STAGES` tells of its runs.

    output: returns the run directory for the settings. prepare: loads the data and the model, and builds the task. show:
    prints the result and the next commands. makes_assistant: whether `folio chat` can talk with its model. check: raises
    UserError for a broken file beside a recipe, before anything else is done.
    """

    name: str
    description: str | None
    config: type[ConfigT]
    output: Callable[[ConfigT], Path]
    prepare: Callable[[ConfigT, RunDirectory, Console], Prepared]
    show: Callable[[RunDirectory, Console], None]
    makes_assistant: bool = False
    check: Callable[[Path], object] = Path.exists

    def main(self, arguments: Sequence[str]) -> None:
        """Run `folio STAGE [MODEL | RECIPE] [flags]`."""
        recipe, flags = take_recipe(self.name, arguments)
        takes_model = any(each.name == "model" for each in fields(self.config))  # type: ignore[arg-type]
        if flags and not flags[0].startswith("-") and not takes_model:
            raise UserError(
                f"{flags[0]}: no such recipe. Known: {known_recipes(self.name)}; for a text of your own use --data FILE."
            )
        if recipe is not None:
            self.check(recipe)
        prog = f"folio {self.name} {arguments[0] if recipe else ''}".strip()
        config = read_config(self.config, flags, recipe=recipe, prog=prog, description=self.description)
        self.run(config, recipe, make_console())

    def run(self, config: ConfigT, recipe: Path | None, console: Console) -> None:
        """Begin the run, or resume it, to the end, and show the result."""
        run = RunDirectory(self.output(config))
        if run.exists:
            with run.owned():
                config = stored_config(run, config, stage=self.name, resume=config.output.resume)
        with run.owned():
            if run.exists and run.read_info()["status"] == "finished":
                console.print(f"{run.path} is already finished:", soft_wrap=True)
            else:
                self._train(config, recipe, run, console)
            self.show(run, console)

    def _train(self, config: ConfigT, recipe: Path | None, run: RunDirectory, console: Console) -> None:
        prepared = self.prepare(config, run, console)
        training = prepared.training
        show_table(prepared.facts, console)
        if not run.exists:
            data = {"data": prepared.origin, "data_sha256": prepared.digest, "before": dict(prepared.before)}
            begin_run(self.name, config, recipe, training, run, **data)
        unfinished = resume(training, run, console)
        progress = Progress(console, training.task.steps)
        recorder = Recorder(training, run, progress, prepared.samples, prepared.shown)
        train_to_end(recorder, console, unfinished)
        prepared.finish(run)
        run.set_status("finished", peak_memory=peak_memory(training.runtime.device))


def draw_losses(run: RunDirectory) -> None:
    """Draw loss.png."""
    records = read_lines(run.metrics_file)
    plot_losses(records, records[-1]["tokens"], run.plot, None)


def default_run(model: Path, stage: str) -> Path:
    """Return runs/NAME-STAGE for a model in a run NAME, or NAME-ANOTHER if stage ANOTHER made that run."""
    place = model.resolve()
    if place.parent.name == "checkpoints":
        place = place.parent.parent
    place = place.parent if place.name == "best" else place
    return Path("runs") / f"{place.name.removesuffix(f'-{stage_of(place)}')}-{stage}"


def without_compile(config: RuntimeConfig) -> RuntimeConfig:
    """Return the config without compiling: batches vary in length, so each would recompile.

    Raises UserError where compiling is asked for.
    """
    if config.compile == "on":
        raise UserError("--compile on: this stage cannot be compiled, since its batches vary in length.")
    return replace(config, compile="off")


def choose_runtime_and_plan(
    run: RunDirectory, config: RuntimeConfig, digest: str, plan: Callable[[], Plan]
) -> tuple[Runtime, Plan]:
    """Return where to compute and the sizes of the run: as the run began, or anew.

    Raises UserError if the run was started with other data.
    """
    if not run.exists:
        return start_runtime(config), plan()
    info = run.read_info()
    if info["data_sha256"] != digest:
        raise UserError(
            f"{run.path} was started with other data, another model or another reward model than are there now: "
            "bring them back, or choose another --run."
        )
    return restore_runtime(info["runtime"]), from_table(Plan, info["plan"], str(run.info_file))


def metrics_before(training: Training, run: RunDirectory) -> Mapping[str, float]:
    """Return the held-out metrics of the model that a run starts from, as measured at its begin or now."""
    if run.exists:
        # The model at hand may be another one by now, or a checkpoint.
        before: dict[str, Any] = run.read_info()["before"]
        return before
    return training.evaluation(training.model)
