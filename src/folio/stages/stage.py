"""A stage: a command that trains, from its settings to a finished run."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from rich.console import Console

from folio.activity import activity
from folio.config import from_table
from folio.distributed import agreed, joined, on_first, rank
from folio.errors import UserError
from folio.files import damage
from folio.log import Progress, make_console
from folio.model.directory import weights_digest
from folio.report.loss_figure import plot_losses
from folio.report.tables import show_table
from folio.runs.directory import RunDirectory, run_around
from folio.runs.flags import read_config
from folio.runs.load import MODEL_FILES, read_model, stage_of
from folio.runs.recipes import known_recipes, take_recipe
from folio.runs.recorder import Recorder
from folio.runs.samples import SampleSource
from folio.runs.settings import ELSEWHERE, RunConfig, stored_config
from folio.runs.sources import stamp
from folio.runs.state import Training
from folio.runs.train import begin_run, follow_to_end, resume, train_to_end
from folio.runtime import Runtime, RuntimeConfig, peak_memory, restore_runtime, start_runtime
from folio.training.plan import Plan


class StageConfig(Protocol):
    """What the settings of every stage have."""

    @property
    def output(self) -> RunConfig: ...


WORTH_COMPILING = 150.0
"""Seconds of a run in which compiling pays off: it takes some 20 seconds on two cores, and saves a fifth of a step."""
FEW_STEPS, ENOUGH_STEPS = 20, 100
"""With fewer steps, hardly anything is learned; with so many, a small model learns what a small data set has."""
ConfigT = TypeVar("ConfigT", bound=StageConfig)
DataT = TypeVar("DataT")


@dataclass(frozen=True)
class Inputs(Generic[DataT]):
    """The data that a run learns from.

    origin: where they are from, in words. digest: a SHA-256 of them and of the models that the run starts from.
    """

    data: DataT
    origin: str
    digest: str


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to begin, or to be resumed.

    finish: what is left to do with the trained model, such as the figure. facts: what to show first. before: held-out
    metrics of the model that the run starts from. shown: names of the metrics beside the progress bar.
    """

    training: Training
    samples: SampleSource
    finish: Callable[[RunDirectory], None]
    facts: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, float] = field(default_factory=dict)
    shown: Sequence[str] = ("loss", "val_loss")


@dataclass(frozen=True)
class Stage(Generic[ConfigT, DataT]):
    """A command that trains, by the name under which `runs/stages.py: STAGES` describes its runs.

    output: returns the run directory for the settings. read: reads the data. prepare: loads the model, and builds the
    task. show: prints the result and the next commands. length: the setting that says how long a run is, and its value.
    makes_assistant: whether `folio chat` can talk with its model. tells_what_it_reads: whether `read` says itself what it does,
    as what takes minutes should.
    check_recipe: raises UserError for a broken file beside a recipe, before anything else is done.
    """

    name: str
    description: str | None
    config: type[ConfigT]
    output: Callable[[ConfigT], Path]
    read: Callable[[ConfigT], Inputs[DataT]]
    prepare: Callable[[ConfigT, Inputs[DataT], RunDirectory, Console], Prepared]
    show: Callable[[RunDirectory, Console], None]
    length: Callable[[ConfigT], tuple[str, float]]
    makes_assistant: bool = False
    tells_what_it_reads: bool = False
    check_recipe: Callable[[Path], object] | None = None

    def is_made(self, config: ConfigT) -> bool:
        """Return whether the run of these settings is finished."""
        run = RunDirectory(self.output(config))
        return run.exists and is_done(run)

    def plan(self, config: ConfigT, console: Console) -> Mapping[str, str]:
        """Return what a run of these settings would tell before its first step, and begin none.

        Raises UserError where it could not begin.
        """
        prepared = self.prepare(config, self.read(config), RunDirectory(self.output(config)), console)
        steps = prepared.training.task.steps
        short = {"too short": too_few(steps, *self.length(config))} if steps < FEW_STEPS else {}
        return {**prepared.facts, **short}

    def main(self, arguments: Sequence[str]) -> None:
        """Run `folio STAGE [MODEL | RECIPE] [flags]`."""
        with joined():
            with agreed():
                config, recipe = self._read(arguments)
            self.run(config, recipe, make_console())

    def _read(self, arguments: Sequence[str]) -> tuple[ConfigT, Path | None]:
        """Return the settings that the arguments give, and the recipe's file."""
        recipe, flags = take_recipe(self.name, arguments)
        takes_model = any(each.name == "model" for each in fields(self.config))  # type: ignore[arg-type]
        if flags and not flags[0].startswith("-") and not takes_model:
            raise UserError(
                f"{flags[0]}: no such recipe. Known: {known_recipes(self.name)}; for a text of your own use --data FILE."
            )
        if takes_model and recipe is None and flags and not flags[0].startswith("-"):
            check_start(flags[0], self.name)
        if recipe is not None and self.check_recipe is not None:
            self.check_recipe(recipe)
        prog = f"folio {self.name} {arguments[0] if recipe else ''}".strip()
        config = read_config(self.config, flags, recipe=recipe, prog=prog, description=self.description)
        return config, recipe

    def run(self, config: ConfigT, recipe: Path | None, console: Console) -> None:
        """Begin the run, or resume it, to the end, and show the result.

        Raises UserError where the run was begun with other settings, other data or other models than are there now.
        """
        with agreed():
            run = RunDirectory(self.output(config))
        with owned_by_first(run):
            if run.exists:
                with agreed():
                    config = stored_config(run, config, stage=self.name, resume=config.output.resume)
            elif config.output.resume:
                console.print(
                    f"{run.path}: there is no run to resume yet, so this begins one.", soft_wrap=True
                )
            if on_first(lambda: run.exists and is_done(run)):
                on_first(lambda: self._check_sources(config, run))
                console.print(f"{run.path} is already finished:", soft_wrap=True)
            else:
                self._train(config, recipe, run, console)
            if rank() == 0:
                self.show(run, console)

    def _check_sources(self, config: ConfigT, run: RunDirectory) -> None:
        """Raise UserError where a finished run learned from something else than is there now.

        All is read and digested only where sizes or times of files are others than they were.
        """
        info, now = run.read_info(), stamp(config)
        if run.is_old(info) or (now and info.get("sources") == now):  # older versions made other digests
            return
        require_same(self.read(config), run)
        run.write_info({**info, "sources": now})

    def _train(self, config: ConfigT, recipe: Path | None, run: RunDirectory, console: Console) -> None:
        sources = stamp(config)  # before reading: what changes after it is noticed the next time
        with agreed(), nullcontext() if self.tells_what_it_reads else activity("Reading the data"):
            inputs = self.read(config)
            if run.exists:
                require_same(inputs, run)
        with agreed():
            prepared = self.prepare(config, inputs, run, console)
        training = prepared.training
        show_table(prepared.facts, console)
        setting, value = self.length(config)
        if training.task.steps < FEW_STEPS:
            console.print(too_few(training.task.steps, setting, value))
        data = {
            "data": inputs.origin,
            "data_sha256": inputs.digest,
            "sources": sources,
            "before": dict(prepared.before),
        }
        if not on_first(lambda: run.exists):
            on_first(lambda: begin_run(self.name, config, recipe, training, run, **data))
        unfinished = resume(training, run, console)
        if (
            config.output.minutes
            != from_table(self.config, run.read_info()["config"], str(run.info_file)).output.minutes
        ):
            training.budget.spent_before = 0.0  # a new time was given, for this session
        progress = Progress(console, training.task.steps)
        recorder = Recorder(training, run, progress, prepared.samples, prepared.shown)
        if rank():
            follow_to_end(recorder, unfinished)
            return
        train_to_end(recorder, console, unfinished)
        prepared.finish(run)
        run.set_status("finished", peak_memory=peak_memory(training.runtime.device))


@contextmanager
def owned_by_first(run: RunDirectory) -> Iterator[None]:
    """Let rank 0 own a run directory (`RunDirectory.owned`) while the block runs on all ranks."""
    with ExitStack() as stack:
        on_first(lambda: stack.enter_context(run.owned()))
        yield


def check_start(name: str, stage: str) -> None:
    """Raise UserError, with the nearest name there is, where a stage is to start from what is not there."""
    path = Path(name).expanduser()
    if os.path.exists(path):
        return
    runs = (str(run.parent) for folder in {path.parent, Path("runs")} for run in folder.glob("*/run.json"))
    recipes = known_recipes(stage)
    close = get_close_matches(name, [*runs, *recipes.split(", ")], n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Recipes: {recipes}."
    raise UserError(f"{name}: no such run or model directory, and no such recipe. {hint}")


def is_done(run: RunDirectory) -> bool:
    """Return whether a run is finished and its model whole: one that is damaged is made again from a checkpoint."""
    info = run.read_info()
    return info["status"] == "finished" and (run.is_old(info) or damage(run.best, MODEL_FILES) is None)


def require_same(inputs: Inputs[Any], run: RunDirectory) -> None:
    """Raise UserError where a run, finished or not, learned from something else than these inputs."""
    if run.read_info()["data_sha256"] != inputs.digest:
        raise UserError(
            f"{run.path} learned from other data, or from another model, than are there now ({inputs.origin}): bring "
            f"them back, {ELSEWHERE}"
        )


def too_few(steps: int, setting: str, value: float) -> str:
    """Return a sentence about a run that is too short to learn. setting, value: what says how long it is."""
    longer = math.ceil(value * ENOUGH_STEPS / steps)
    made = "One step is" if steps == 1 else f"{steps} steps are"
    return f"{made} too few to learn much: --{setting} {longer} would make about {ENOUGH_STEPS}."


def digest_of(data: object, *models: Path) -> str:
    """Return a SHA-256 of data, as JSON holds them, and of the weights of the models that a run starts from."""
    digest = hashlib.sha256(json.dumps(data, default=_json_value).encode())
    for model in models:
        digest.update(read_model(model, weights_digest).encode())
    return digest.hexdigest()


def _json_value(value: Any) -> object:
    return (
        asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
    )  # dates in tables


def draw_losses(run: RunDirectory) -> None:
    """Draw loss.png."""
    records = run.read_metrics()
    plot_losses(records, records[-1]["tokens"], run.plot, None)


def default_run(model: Path, stage: str) -> Path:
    """Return runs/NAME-STAGE for a model in a run NAME, or NAME-ANOTHER if stage ANOTHER made that run."""
    place = run_around(model) or model.resolve()
    return Path("runs") / f"{place.name.removesuffix(f'-{stage_of(place)}')}-{stage}"


def choose_runtime(config: RuntimeConfig, run: RunDirectory, seconds: float = math.inf) -> Runtime:
    """Return where to compute: as the run began, or as the settings say. seconds: the time for the run."""
    if run.exists:
        return restore_runtime(run.read_info()["runtime"])
    if config.compile == "auto" and seconds < WORTH_COMPILING:
        config = replace(config, compile="off")
    return restore_runtime(on_first(lambda: start_runtime(config).to_table()))


def metrics_before(training: Training, run: RunDirectory) -> Mapping[str, float]:
    """Return the held-out metrics of the model that a run starts from, as measured at its begin or now.

    By the time that they take, the number of evaluations is fitted to the run's.
    """
    if run.exists:
        # The model at hand may be another one by now, or a checkpoint.
        info = run.read_info()
        training.set_evaluations(from_table(Plan, info["plan"], str(run.info_file)).evaluations)
        before: dict[str, Any] = info["before"]
        return before

    def measure() -> tuple[Mapping[str, float], float, int]:
        start = time.monotonic()
        with activity("Evaluating the model that the run starts from"):
            metrics = training.evaluation(training.model)
        training.budget.pause_seconds = time.monotonic() - start
        return metrics, training.budget.pause_seconds, training.budget.affordable_evaluations()

    metrics, training.budget.pause_seconds, evaluations = on_first(measure)
    training.set_evaluations(evaluations)
    return metrics
