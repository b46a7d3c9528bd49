"""What is done between steps: save, evaluate, record, sample, show."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Mapping, Sequence

from rich.text import Text

from folio.checkpoint import saved_steps
from folio.files import append_line, write_directory
from folio.log import Progress, clock
from folio.runs.directory import RunDirectory
from folio.runs.samples import Writer
from folio.runs.state import Training
from folio.training.loop import StepReport

KEPT_CHECKPOINTS = 2
"""The newest, and one before it in case the newest is damaged."""


class Watch:
    """What is done after a step. Each public method is an action for `fit`."""

    def __init__(
        self,
        training: Training,
        run: RunDirectory,
        progress: Progress,
        writer: Writer,
        shown: Sequence[str] = ("loss", "val_loss"),
    ) -> None:
        self.training = training
        self.shown = shown
        """Names of the figures beside the progress bar."""
        self.run = run
        self.progress = progress
        self.writer = writer
        self.last: StepReport | None = None
        """The last step that was recorded."""
        self._measured: dict[int, Mapping[str, float]] = {}
        """By the step after which it was."""
        self._recent = deque[StepReport](maxlen=20)
        """The last steps: their mean speed is steadier than one step's, and newer than the whole run's."""

    def save(self, report: StepReport) -> None:
        """Write checkpoints/step-N, and remove those older than the one before it."""
        new = self.run.checkpoints / f"step-{report.step}"
        self.training.save(new, report)
        saved = saved_steps(self.run.checkpoints)
        # Newer ones, if there are any, are damaged, and will be written again.
        for old in saved[saved.index(new) :][KEPT_CHECKPOINTS:]:
            shutil.rmtree(old)

    def save_last(self) -> None:
        """Write a checkpoint of the last step that was recorded, unless it or a later one was saved."""
        training, saved = self.training, saved_steps(self.run.checkpoints)
        newest = int(saved[0].name.removeprefix("step-")) if saved else 0
        if self.last is not None and self.last.step > newest:
            # A checkpoint knows nothing of what followed its step: the record will be made again.
            training.tokens -= self.last.n_tokens
            training.train_seconds -= self.last.seconds
            self.save(self.last)

    def evaluate(self, report: StepReport) -> None:
        """Measure on what is held out; keep the model if it is the best so far."""
        training = self.training
        self._measured[report.step] = training.evaluation(training.model)
        val_loss = self._measured[report.step].get("val_loss")
        if val_loss is None or training.best.update(report.step, val_loss):
            write_directory(self.run.best, training.save_model)
        elif training.best.has_just_turned(val_loss):
            self.progress.say(
                f"Validation loss has turned: it was lowest at step {training.best.step:,}, and the model now "
                "learns the text by heart. The best one is kept."
            )

    def record(self, report: StepReport) -> None:
        """Add a line to metrics.jsonl."""
        training = self.training
        self.last = report
        training.tokens += report.n_tokens
        training.train_seconds += report.seconds
        line = {
            "step": report.step,
            "tokens": training.tokens,
            "train_seconds": round(training.train_seconds, 3),
            "loss": report.loss,
            "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm,
            **report.metrics,
            **training.figures(),
            **self._measured.get(report.step, {}),
        }
        append_line(self.run.metrics_file, line)

    def show(self, report: StepReport) -> None:
        """Move the progress on."""
        self._recent.append(report)
        seconds = sum(step.seconds for step in self._recent)
        tokens_per_second = sum(step.n_tokens for step in self._recent) / seconds
        left = (self.progress.total - report.step) * seconds / len(self._recent)
        newest = list(self._measured.values())[-1] if self._measured else {}
        known = {"loss": report.loss, **report.metrics, **self.training.figures(), **newest}
        figures = {name: f"{known[name]:.3f}" for name in self.shown if name in known}
        figures |= {f"{self.training.tokenizer.unit}s/s": f"{tokens_per_second:,.0f}", "left": clock(left)}
        self.progress.update(report.step, figures)

    def sample(self, report: StepReport) -> None:
        """Let the model write to the fixed prompts: only the model differs."""
        name, value = next(iter(self._measured[report.step].items()))
        self.progress.say(Text(f"step {report.step:,}, {name} {value:.3f}", style="bold"))
        for prompt, text in self.writer.write(self.training.model, self.training.tokenizer):
            append_line(self.run.samples_file, {"step": report.step, "prompt": prompt, "text": text})
            self.progress.say(text.strip() + "\n")

    def stop_if_hopeless(self, report: StepReport) -> None:
        """End the run when validation loss has not fallen for long."""
        val_loss = self._measured[report.step].get("val_loss")
        if val_loss is not None:
            self.training.best.stop_if_hopeless(val_loss)
