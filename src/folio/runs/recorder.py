"""The actions of a run between steps: save, evaluate, record, sample, show progress."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.text import Text

from folio.checkpoint import saved_steps
from folio.config import to_table
from folio.files import CHECKSUMS, append_line, damage, sync, write_directory
from folio.log import Progress, format_duration, format_number
from folio.model.directory import WEIGHTS
from folio.runs.directory import RunDirectory
from folio.runs.load import MODEL_FILES
from folio.runs.samples import SampleSource
from folio.runs.state import STATE_FILE, Training
from folio.training.loop import StepReport
from folio.training.spacing import EVALUATIONS

KEPT_CHECKPOINTS = 2
"""The newest, and the one before it in case the newest is damaged."""
HISTORY_BYTES = 1e9
"""Room for the models of all earlier checkpoints of a run. Of larger ones none is kept: a part of them would mislead."""


class Recorder:
    """The actions of a run. Each public method that takes a report is an action for `fit`.

    shown: names of the metrics beside the progress bar.
    """

    def __init__(
        self,
        training: Training,
        run: RunDirectory,
        progress: Progress,
        samples: SampleSource,
        shown: Sequence[str] = ("loss", "val_loss"),
    ) -> None:
        self.training = training
        self.run = run
        self.progress = progress
        self.samples = samples
        self.shown = shown
        self.last: StepReport | None = None
        """The last step that was recorded."""
        self._planned = (0, 0.0)
        """The step after which the steps were last planned, and the seconds in steps up to it."""
        self._saved: tuple[float, float] | None = None
        """When the last save began, and the seconds in steps up to it."""
        self._evaluations: dict[int, Mapping[str, float]] = {}
        """Held-out metrics by step."""
        self._recent = deque[StepReport](maxlen=20)
        """The last steps: their mean speed is steadier than one step's, and newer than the whole run's."""

    def plan_first(self, report: StepReport) -> None:
        """Plan the steps as soon as the first ones are timed."""
        if report.step == self.training.budget.multiple:
            self.plan(report)

    def plan(self, report: StepReport, evaluations_due: int = 0) -> None:
        """Fit the number of steps to the time that is left, by the speed since it was planned last.

        evaluations_due: of the step that was reported. Where there is none, another step follows: the last one is evaluated.
        """
        training = self.training
        step, seconds = self._planned
        self._planned = report.step, training.train_seconds
        if report.step == step:
            return
        step_seconds = (training.train_seconds - seconds) / (report.step - step)
        steps = training.budget.steps(report.step, step_seconds, evaluations_due)
        if not evaluations_due:
            steps = max(steps, min(report.step + training.budget.multiple, training.budget.most_steps))
        if steps != training.task.steps:
            training.set_steps(steps)
            self.progress.total = steps
            self.run.set_status("running", plan=to_table(training.plan))

    def save(self, report: StepReport) -> None:
        """Write checkpoints/step-N, and move the models of those older than the one before it to history/.

        The steps are planned anew before, so that a run which is resumed there goes on with the same plan.
        """
        now = time.monotonic(), self.training.train_seconds
        if self._saved is not None:  # all but the steps was saving and evaluating
            self.training.budget.pause_seconds = now[0] - self._saved[0] - (now[1] - self._saved[1])
        self._saved = now
        self.plan(report, evaluations_due=1)
        if self.run.metrics_file.exists():
            sync(self.run.metrics_file)  # a power cut must not leave a checkpoint with a shorter history
        new = self.run.checkpoint(report.step)
        self.training.save(new, report)
        saved = saved_steps(self.run.checkpoints)
        # Newer ones, if there are any, are damaged, and will be written again.
        for old in saved[saved.index(new) :][KEPT_CHECKPOINTS:]:
            self._keep_model(old)
            shutil.rmtree(old)

    def _keep_model(self, checkpoint: Path) -> None:
        """Write the model of a checkpoint to history/, if it is whole and not too large."""
        if damage(checkpoint, MODEL_FILES) is not None:
            return
        if (checkpoint / WEIGHTS).stat().st_size > HISTORY_BYTES / EVALUATIONS:
            return

        def copy(temporary: Path) -> None:
            for file in checkpoint.iterdir():
                if file.name not in (STATE_FILE, CHECKSUMS):
                    shutil.copy2(file, temporary)

        write_directory(self.run.history / checkpoint.name, copy)

    def save_last(self) -> None:
        """Write a checkpoint of the last step that was recorded, unless it or a later one was saved."""
        saved = saved_steps(self.run.checkpoints)
        newest = int(saved[0].name.removeprefix("step-")) if saved else 0
        if self.last is not None and self.last.step > newest:
            self.save(self.last)

    def evaluate(self, report: StepReport) -> None:
        """Evaluate on held-out data; keep the model as best/ if it is the best so far."""
        training = self.training
        with self.progress.activity("evaluating"):
            self._evaluations[report.step] = training.evaluation(training.model)
        val_loss = self._evaluations[report.step].get("val_loss")
        if val_loss is None or training.best.update(report.step, val_loss):
            write_directory(self.run.best, training.save_model)
        elif training.best.should_warn(val_loss):
            self.progress.say(
                f"Validation loss is rising: it was lowest at step {training.best.step:,}, and the model now "
                "memorizes the training data. The best model is kept."
            )

    def record(self, report: StepReport) -> None:
        """Append a line to metrics.jsonl."""
        self.last = report
        line = {
            "step": report.step,
            "tokens": self.training.tokens,
            "train_seconds": round(self.training.train_seconds, 3),
            "loss": report.loss,
            "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm,
            **report.metrics,
            **self._evaluations.get(report.step, {}),
        }
        append_line(self.run.metrics_file, line)

    def show(self, report: StepReport) -> None:
        """Update the progress bar."""
        self._recent.append(report)
        seconds = sum(step.seconds for step in self._recent)
        tokens_per_second = sum(step.n_tokens for step in self._recent) / seconds
        left = (self.progress.total - report.step) * seconds / len(self._recent)
        newest = list(self._evaluations.values())[-1] if self._evaluations else {}
        known = {"loss": report.loss, **report.metrics, **newest}
        metrics = {name: format_number(known[name]) for name in self.shown if name in known}
        metrics |= {
            f"{self.training.tokenizer.unit}s/s": f"{tokens_per_second:,.0f}",
            "left": format_duration(left),
        }
        self.progress.update(report.step, metrics)

    def sample(self, report: StepReport) -> None:
        """Append the model's samples to samples.jsonl, and show them."""
        name, value = next(iter(self._evaluations[report.step].items()))
        self.progress.say(Text(f"step {report.step:,}, {name} {value:.3f}", style="bold"))
        with self.progress.activity("sampling"):
            samples = self.samples.samples(self.training.model, self.training.tokenizer)
        for prompt, text in samples:
            append_line(self.run.samples_file, {"step": report.step, "prompt": prompt, "text": text})
            self.progress.say(text.strip() + "\n")

    def check_overfitting(self, report: StepReport) -> None:
        """Raise OverfittingError when validation loss has not improved for long."""
        val_loss = self._evaluations[report.step].get("val_loss")
        if val_loss is not None:
            self.training.best.check(val_loss)
