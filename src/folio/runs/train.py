"""From a prepared training to a finished one, in a run directory: begin, resume, train to the end."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from folio import __version__
from folio.checkpoint import newest_valid, saved_steps
from folio.config import to_table
from folio.distributed import is_lost, on_first
from folio.errors import UserError, is_out_of_memory
from folio.files import WriteError, damage, keep_before
from folio.rl.rewards import RewardError
from folio.runs.directory import FORMAT, RunDirectory
from folio.runs.load import MODEL_FILES
from folio.runs.recorder import Recorder
from folio.runs.rehearsal import diverged
from folio.runs.state import Training
from folio.runtime import describe
from folio.training.early_stopping import EarlyStopping, OverfittingError
from folio.training.loop import Every, NonFiniteLossError, Spread, StepReport, fit


def begin_run(
    stage: str, config: Any, recipe: Path | None, training: Training, run: RunDirectory, **data: Any
) -> None:
    """Write run.json. config: the stage's own. data: facts about what the run learns from."""
    run.write_info(
        {
            "format": FORMAT,
            "status": "running",
            "stage": stage,
            "folio": __version__,
            "torch": torch.__version__,
            "hardware": describe(training.runtime.device),
            "recipe": None if recipe is None else str(recipe.resolve()),
            "config": to_table(config),
            "runtime": training.runtime.to_table(),
            "plan": to_table(training.plan),
            "most_steps": training.budget.most_steps,
            "peak_memory": 0,
            **data,
        }
    )


def resume(training: Training, run: RunDirectory, console: Console) -> StepReport | None:
    """Restore the newest valid checkpoint, if there is one, and return the report of its last step.

    Of several ranks all restore it, and rank 0 alone changes the run directory.
    """
    checkpoint, problems = on_first(lambda: newest_valid(run.checkpoints))
    for problem in problems:
        console.print(problem, soft_wrap=True)
    report = training.load(checkpoint) if checkpoint else None
    if report and training.best.step and (harm := on_first(lambda: damage(run.best, MODEL_FILES))):
        report, instead = remake_best(training, run, report)
        console.print(f"{run.best} is damaged ({harm}): {instead}.", soft_wrap=True)
    on_first(lambda: drop_after(run, report.step if report else 0))
    if report:
        console.print(
            f"Resuming after step {report.step:,}, from {run.checkpoint(report.step)}.", soft_wrap=True
        )
    elif problems:
        console.print("No valid checkpoint is left: starting again.")
    return report


def drop_after(run: RunDirectory, step: int) -> None:
    """Drop all records of `step` and later, and the models of later steps."""
    for path in (run.metrics_file, run.samples_file):
        keep_before(path, step)
    for number, model in run.models().items():
        if number > step and model.parent == run.history:
            shutil.rmtree(model)


def remake_best(training: Training, run: RunDirectory, report: StepReport) -> tuple[StepReport, str]:
    """Arrange that the next evaluation writes best/ again, and return where to go on, and what is done, in words.

    The step that made it is evaluated again where its checkpoint is there, else the newest checkpoint takes its place.
    """
    step = training.best.step
    own = run.checkpoint(step)
    if own.exists() and damage(own, MODEL_FILES) is None:
        return training.load(own), f"going back to step {step:,}, which made it"
    training.best = EarlyStopping()
    return (
        report,
        f"the checkpoint of step {step:,}, which made it, is gone, so the model of step {report.step:,} takes its place",
    )


def follow_to_end(recorder: Recorder, unfinished: StepReport | None) -> None:
    """Make the steps that are left on a rank that writes nothing. Raises SystemExit where rank 0 ends with an error."""
    try:
        make_steps(recorder, unfinished)
    except NonFiniteLossError:  # on every rank alike: rank 0 says so
        raise SystemExit(UserError.exit_code) from None
    except RuntimeError as error:
        if is_lost(error):
            raise SystemExit(UserError.exit_code) from None
        raise


def train_to_end(recorder: Recorder, console: Console, unfinished: StepReport | None) -> None:
    """Make the steps that are left, with checkpoints and evaluations.

    Raises UserError when the loss is not finite, a reward fails, or the disk cannot be written.
    """
    run = recorder.run
    run.set_status("running")
    try:
        make_steps(recorder, unfinished)
    except OverfittingError as error:
        console.print(str(error))
    except RewardError as error:
        recorder.save_last()
        run.set_status("interrupted")
        kept = "all that was learned is saved" if saved_steps(run.checkpoints) else "nothing was learned yet"
        raise UserError(f"{error} Fix it and resume with --resume: {kept}.") from error
    except WriteError as error:
        kept = (
            "What was saved before is untouched" if saved_steps(run.checkpoints) else "Nothing was saved yet"
        )
        with suppress(WriteError):
            run.set_status("interrupted")
        raise UserError(f"{error} {kept}: resume with --resume.") from error
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        recorder.save_last()
        run.set_status("interrupted")
        raise
    except KeyboardInterrupt:
        run.set_status("interrupted")
        raise KeyboardInterrupt(f"{what_is_saved(run)}: resume with --resume.") from None
    except UserError:  # such as weights that are not finite, which are not saved
        run.set_status("failed")
        raise
    except NonFiniteLossError as error:
        run.set_status("failed")
        checkpoint, _ = newest_valid(run.checkpoints)
        kept = f"{checkpoint} is the last good checkpoint" if checkpoint else "there was no checkpoint yet"
        raise diverged(error, kept) from None
    except (RuntimeError, MemoryError) as error:
        if is_lost(error):
            run.set_status("interrupted")
            raise UserError(
                f"Another process of this run has ended. {what_is_saved(run)}: start all of them again with --resume."
            ) from error
        if not is_out_of_memory(error):
            raise
        run.set_status("interrupted")
        raise UserError(
            f"Memory ran out. {what_is_saved(run)}: close other programs and resume with --resume, or begin another --run with a "
            "smaller --micro-batch-size."
        ) from error


def make_steps(recorder: Recorder, unfinished: StepReport | None) -> None:
    """Run the loop with the actions of a run between its steps."""
    training = recorder.training
    times = training.plan.evaluations
    with recorder.progress.shown():
        fit(
            training.reports(unfinished.step + 1 if unfinished else 1),
            last_step=lambda: training.task.steps,
            save=Spread(times, recorder.save),
            then=(
                Every(recorder.plan_first),
                Spread(times, recorder.evaluate),
                Every(recorder.record),
                Every(recorder.show),
                Spread(times, recorder.sample),
                Spread(times, recorder.check_overfitting),
            ),
            unfinished=unfinished,
            on_interrupt=lambda: recorder.progress.say(
                "Stopping after this step. Ctrl-C again stops at once."
            ),
        )


def what_is_saved(run: RunDirectory) -> str:
    """Return which checkpoint a run would be resumed from, in words."""
    checkpoint, _ = newest_valid(run.checkpoints)
    return f"{checkpoint} is saved" if checkpoint else "Nothing was saved yet"
