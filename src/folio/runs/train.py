"""What every stage that trains does with its run: begin it, go on with it, train to the end."""

from __future__ import annotations

import math
from typing import Any

import torch
from rich.console import Console

from folio import __version__
from folio.checkpoint import newest_whole, saved_steps
from folio.config import to_table
from folio.errors import UserError
from folio.files import keep_before
from folio.rl.rewards import RewardError
from folio.runs.directory import RunDirectory
from folio.runs.recorder import Watch
from folio.runs.rehearsal import EVALUATIONS, diverged
from folio.runs.state import Training
from folio.runtime import describe
from folio.training.early_stopping import OverfittingError
from folio.training.loop import Every, NonFiniteLossError, StepReport, fit, optimizer_steps
from folio.training.schedule import ScheduleConfig


def begin_run(
    stage: str, config: Any, training: Training, run: RunDirectory, *, origin: str, digest: str
) -> None:
    """Write run.json. config: the stage's own; origin, digest: where the text is from, and its SHA-256."""
    run.write_info(
        {
            "status": "running",
            "stage": stage,
            "folio": __version__,
            "torch": torch.__version__,
            "hardware": describe(training.runtime.device),
            "config": to_table(config),
            "runtime": training.runtime.to_table(),
            "plan": to_table(training.plan),
            "text": origin,
            "text_sha256": digest,
            "peak_memory": 0,
        }
    )


def resume(training: Training, run: RunDirectory, console: Console) -> StepReport | None:
    """Put `training` where the newest whole checkpoint left it, and return the report of its last step."""
    checkpoint, problems = newest_whole(run.checkpoints)
    for problem in problems:
        console.print(problem, soft_wrap=True)
    report = training.load(checkpoint) if checkpoint else None
    for path in (run.metrics_file, run.samples_file):
        keep_before(path, report.step if report else 0)
    if report:
        console.print(f"Going on after step {report.step:,}, from {checkpoint}.", soft_wrap=True)
    elif problems:
        console.print("No whole checkpoint is left: beginning again.")
    return report


def train(
    watch: Watch, schedule: ScheduleConfig, max_norm: float, console: Console, unfinished: StepReport | None
) -> None:
    """Make the steps that are left. Raises UserError when the loss is no longer a number."""
    training, run, total = watch.training, watch.run, watch.training.plan.steps
    interval = math.ceil(total / EVALUATIONS)
    reports = optimizer_steps(
        training.learner,
        training.loss_function,
        training.groups,
        training.optimizers,
        schedule,
        steps=range(unfinished.step + 1 if unfinished else 1, total + 1),
        max_norm=max_norm,
    )
    run.set_status("running")
    try:
        with watch.progress.shown():
            fit(
                reports,
                last_step=total,
                save=Every(interval, watch.save),
                then=(
                    Every(interval, watch.evaluate),
                    Every(1, watch.record),
                    Every(1, watch.show),
                    Every(interval, watch.sample),
                    Every(interval, watch.stop_if_hopeless),
                ),
                unfinished=unfinished,
                tell=lambda: watch.progress.say("Stopping after this step. Ctrl-C again stops at once."),
            )
    except OverfittingError as error:
        console.print(str(error))
    except RewardError as error:
        watch.save_last()
        run.set_status("interrupted")
        kept = "all that was learned is saved" if saved_steps(run.checkpoints) else "nothing was learned yet"
        raise UserError(f"{error} Mend it and go on with --resume: {kept}.") from error
    except BrokenPipeError:  # `| head`: whoever read what is told has gone
        watch.save_last()
        run.set_status("interrupted")
        raise
    except KeyboardInterrupt:
        run.set_status("interrupted")
        checkpoint, _ = newest_whole(run.checkpoints)
        saved = f"{checkpoint} is saved" if checkpoint else "Nothing was saved yet"
        raise KeyboardInterrupt(f"{saved}: go on with --resume.") from None
    except NonFiniteLossError as error:
        run.set_status("failed")
        checkpoint, _ = newest_whole(run.checkpoints)
        kept = f"{checkpoint} is the last good checkpoint" if checkpoint else "there was no checkpoint yet"
        raise diverged(error, kept) from None
