"""A model in training, and what is done with it between steps: save, evaluate, record, sample, show."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.text import Text
from torch import nn
from torch.optim import Optimizer

from folio.checkpoint import (
    load_state,
    random_state,
    restore_random_state,
    save_state,
    saved_steps,
    write_directory,
)
from folio.inference.engine import Engine
from folio.inference.sampling import SamplingConfig
from folio.inference.text import stream_text
from folio.log import Progress, clock
from folio.model.directory import load_weights, save_model
from folio.model.gpt import GPT
from folio.model.score import ActorCritic, ScoreModel
from folio.model.transformer import Transformer
from folio.runtime import Runtime
from folio.tokenizer import chat_template
from folio.tokenizer.protocol import Tokenizer
from folio.tokenizer.special_tokens import STANDARD_NAMES
from folio.train.best import Best
from folio.train.loop import Counted, LossFunction, StepReport
from folio.train.plan import Plan
from folio.train.run import RunDirectory, append_line

KEPT_CHECKPOINTS = 2
"""The newest, and one before it in case the newest is damaged."""
SAMPLE_TOKENS = 100
ANSWER_TOKENS = 120
STATE_FILE = "training.safetensors"


class Source(Protocol):
    """What batches come from, and can go on from where it was."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Writer(Protocol):
    """What writes samples along the way, always to the same prompts and with the same seed."""

    def write(self, model: Any, tokenizer: Tokenizer) -> Iterable[tuple[str, str]]:
        """Each prompt, and what is to be shown of it."""


@dataclass
class Training:
    """Everything that changes while a model trains, and so all that a checkpoint must hold; and what it trains with.

    groups: the micro-batches of one optimizer step after another, made of `source`.
    evaluation: a model's figures on what it does not learn from. `val_loss`, if it is among them, decides which
    model is the best; without it the newest is.
    critic: PPO's, which learns beside the policy.
    figures: further ones for the step that was just made.
    """

    model: Transformer
    tokenizer: Tokenizer
    source: Source
    groups: Iterable[Sequence[Counted]]
    loss_function: LossFunction
    evaluation: Callable[[Any], Mapping[str, float]]
    optimizers: Sequence[Optimizer]
    runtime: Runtime
    plan: Plan
    critic: ScoreModel | None = None
    figures: Callable[[], Mapping[str, float]] = dict
    best: Best = field(default_factory=Best)
    tokens: int = 0
    train_seconds: float = 0.0

    @property
    def learner(self) -> nn.Module:
        """All that the loop trains."""
        if self.critic is None:
            return self.model
        assert isinstance(self.model, GPT)
        return ActorCritic(self.model, self.critic)

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
                "critic": self.critic.state_dict() if self.critic else {},
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
        if self.critic:
            self.critic.load_state_dict(state["critic"])
        self.best.load_state_dict(state["best"])
        self.tokens, self.train_seconds = state["tokens"], state["train_seconds"]
        restore_random_state(state["random"])
        return StepReport(**state["report"])

    def save_model(self, directory: Path) -> None:
        """Write model and tokenizer, as `transformers` reads them."""
        special_ids = {name: self.tokenizer.special_ids[token] for name, token in STANDARD_NAMES.items()}
        save_model(self.model, directory, special_ids=special_ids)
        self.tokenizer.save(directory)


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


@dataclass(frozen=True)
class Continuation:
    """A text, continued: the sample of pretraining."""

    prompt: str

    def write(self, model: GPT, tokenizer: Tokenizer) -> list[tuple[str, str]]:
        """The prompt, and with it what the model adds to it."""
        return [(self.prompt, write_text(model, tokenizer, self.prompt, SAMPLE_TOKENS))]


@dataclass(frozen=True)
class Answers:
    """Answers to fixed questions: the samples of all stages that make an assistant."""

    prompts: Sequence[str]

    def write(self, model: GPT, tokenizer: Tokenizer) -> list[tuple[str, str]]:
        """Each question, and with it its answer."""
        return [(prompt, self._answered(prompt, model, tokenizer)) for prompt in self.prompts]

    def _answered(self, prompt: str, model: GPT, tokenizer: Tokenizer) -> str:
        question, _ = tokenizer.drop_unknown(prompt)
        ids = chat_template.prompt_ids(tokenizer, [{"role": "user", "content": question}])
        room = min(ANSWER_TOKENS, model.config.block_size - len(ids))
        answer = write_on(model, tokenizer, ids, room, [tokenizer.special_ids["<|end|>"]])
        return f"> {question}\n{answer}"


def write_text(model: GPT, tokenizer: Tokenizer, prompt: str, n_tokens: int) -> str:
    """Prompt and continuation, the same for the same model."""
    prompt, _ = tokenizer.drop_unknown(prompt)
    return prompt + write_on(model, tokenizer, tokenizer.prompt(prompt), n_tokens)


def write_on(
    model: GPT, tokenizer: Tokenizer, ids: Sequence[int], n_tokens: int, stop_ids: Sequence[int] = ()
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
