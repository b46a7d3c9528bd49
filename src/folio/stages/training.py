"""A model in training, and what is done with it between steps: save, evaluate, record, sample, show."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from rich.text import Text
from torch.optim import Optimizer

from folio.batch import Batch
from folio.checkpoint import (
    load_state,
    random_state,
    restore_random_state,
    save_state,
    saved_steps,
    write_directory,
)
from folio.evaluation.loss import ValidationLoss, validation_loss
from folio.inference.engine import Engine
from folio.inference.sampling import SamplingConfig
from folio.inference.text import stream_text
from folio.log import Progress, clock
from folio.model.directory import load_weights, save_model
from folio.model.gpt import GPT
from folio.runtime import Runtime
from folio.tokenizer.char import CharTokenizer
from folio.train.best import Best
from folio.train.loop import StepReport
from folio.train.plan import Plan
from folio.train.run import RunDirectory, append_line

KEPT_CHECKPOINTS = 2
"""The newest, and one before it in case the newest is damaged."""
SAMPLE_TOKENS = 100
STATE_FILE = "training.safetensors"


class Source(Protocol):
    """An endless stream of batches that can go on where it was."""

    def __iter__(self) -> Iterator[Batch]: ...
    def __next__(self) -> Batch: ...
    def state_dict(self) -> dict[str, int]: ...
    def load_state_dict(self, state: Mapping[str, int]) -> None: ...


class Writer(Protocol):
    """What writes a sample along the way, always to the same prompt and with the same seed."""

    @property
    def prompt(self) -> str: ...
    def write(self, model: GPT, tokenizer: CharTokenizer) -> str: ...


@dataclass
class Training:
    """Everything that changes while a model trains, and so all that a checkpoint must hold."""

    model: GPT
    tokenizer: CharTokenizer
    source: Source
    validation: Sequence[Batch]
    validation_bytes: int
    optimizers: Sequence[Optimizer]
    runtime: Runtime
    plan: Plan
    best: Best = field(default_factory=Best)
    tokens: int = 0
    train_seconds: float = 0.0

    def save(self, directory: Path, report: StepReport) -> None:
        """Write a checkpoint that is a model directory as well."""

        def write(temporary: Path) -> None:
            self.save_model(temporary)
            state = {
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "source": self.source.state_dict(),
                "random": random_state(),
                "best": self.best.state_dict(),
                "tokens": self.tokens,
                "train_seconds": self.train_seconds,
                "report": asdict(report),
            }
            save_state(temporary / STATE_FILE, state)

        write_directory(directory, write)

    def load(self, directory: Path) -> StepReport:
        """Become what was saved, to the last bit, and return the report of the last step made."""
        load_weights(self.model, directory)
        state = load_state(directory / STATE_FILE)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.source.load_state_dict(state["source"])
        self.best.load_state_dict(state["best"])
        self.tokens, self.train_seconds = state["tokens"], state["train_seconds"]
        restore_random_state(state["random"])
        return StepReport(**state["report"])

    def save_model(self, directory: Path) -> None:
        """Write model and tokenizer, as `transformers` reads them."""
        names = {"bos": "<|bos|>", "eos": "<|end|>", "pad": "<|pad|>"}
        special_ids = {name: self.tokenizer.special_ids[token] for name, token in names.items()}
        save_model(self.model, directory, special_ids=special_ids)
        self.tokenizer.save(directory)


class Watch:
    """What is done after a step. Each public method is an action for `fit`."""

    def __init__(self, training: Training, run: RunDirectory, progress: Progress, writer: Writer) -> None:
        self.training = training
        self.run = run
        self.progress = progress
        self.writer = writer
        self._val_losses: dict[int, ValidationLoss] = {}
        """By the step after which they were measured."""
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

    def evaluate(self, report: StepReport) -> None:
        """Measure the whole validation split; keep the model if it is the best so far."""
        training = self.training
        self._val_losses[report.step] = validation_loss(training.model, training.validation)
        val_loss = self._val_losses[report.step].nats
        if training.best.update(report.step, val_loss):
            write_directory(self.run.best, training.save_model)
        elif training.best.has_just_turned(val_loss):
            self.progress.say(
                f"Validation loss has turned: it was lowest at step {training.best.step:,}, and the model now "
                "learns the text by heart. The best one is kept."
            )

    def record(self, report: StepReport) -> None:
        """Add a line to metrics.jsonl."""
        training = self.training
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
        }
        if report.step in self._val_losses:
            val_loss = self._val_losses[report.step]
            line["val_loss"] = val_loss.nats
            line["val_bpb"] = val_loss.bits_per_byte(training.validation_bytes)
        append_line(self.run.metrics_file, line)

    def show(self, report: StepReport) -> None:
        """Move the progress on."""
        self._recent.append(report)
        seconds = sum(step.seconds for step in self._recent)
        tokens_per_second = sum(step.n_tokens for step in self._recent) / seconds
        left = (self.progress.total - report.step) * seconds / len(self._recent)
        figures = {"loss": f"{report.loss:.3f}"}
        if self._val_losses:
            figures["val_loss"] = f"{list(self._val_losses.values())[-1].nats:.3f}"
        figures |= {"characters/s": f"{tokens_per_second:,.0f}", "left": clock(left)}
        self.progress.update(report.step, figures)

    def sample(self, report: StepReport) -> None:
        """Let the model write to the fixed prompt: only the model differs."""
        text = self.writer.write(self.training.model, self.training.tokenizer)
        append_line(self.run.samples_file, {"step": report.step, "prompt": self.writer.prompt, "text": text})
        val_loss = self._val_losses[report.step].nats
        self.progress.say(Text(f"step {report.step:,}, val_loss {val_loss:.3f}", style="bold"))
        self.progress.say(text.strip() + "\n")

    def stop_if_hopeless(self, report: StepReport) -> None:
        """End the run when validation loss has not fallen for long."""
        self.training.best.stop_if_hopeless(self._val_losses[report.step].nats)


@dataclass(frozen=True)
class Continuation:
    """A text, continued: the sample of pretraining."""

    prompt: str

    def write(self, model: GPT, tokenizer: CharTokenizer) -> str:
        """The prompt and what the model adds to it."""
        return write_text(model, tokenizer, self.prompt, SAMPLE_TOKENS)


def prompt_ids(tokenizer: CharTokenizer, prompt: str) -> list[int]:
    """What the engine reads: the ids of a prompt, or <|bos|> where there is none."""
    return tokenizer.encode(prompt).tolist() or [tokenizer.special_ids["<|bos|>"]]


def write_text(model: GPT, tokenizer: CharTokenizer, prompt: str, n_tokens: int) -> str:
    """Prompt and continuation, the same for the same model."""
    prompt, _ = tokenizer.drop_unknown(prompt)
    return prompt + write_on(model, tokenizer, prompt_ids(tokenizer, prompt), n_tokens)


def write_on(
    model: GPT, tokenizer: CharTokenizer, ids: Sequence[int], n_tokens: int, stop_ids: Sequence[int] = ()
) -> str:
    """What the model writes after `ids`, the same for the same model."""
    steps = stream_text(
        Engine(model),
        tokenizer,
        [ids],
        max_new_tokens=n_tokens,
        sampling=SamplingConfig(temperature=0.8),
        seed=1,
        stop_ids=stop_ids,
    )
    with torch.compiler.set_stance("force_eager"):
        return "".join(piece for step in steps for piece in step)
