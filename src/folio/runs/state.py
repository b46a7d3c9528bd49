"""A model in training, and what is done with it between steps: save, evaluate, record, sample, show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer

from folio.checkpoint import load_state, random_state, restore_random_state, save_state
from folio.files import write_directory
from folio.model.directory import load_weights, save_model
from folio.model.gpt import GPT
from folio.model.score import ActorCritic, ScoreModel
from folio.model.transformer import Transformer
from folio.runtime import Runtime
from folio.tokenizer.protocol import Tokenizer
from folio.tokenizer.special_tokens import STANDARD_NAMES
from folio.training.early_stopping import Best
from folio.training.loop import Counted, LossFunction, StepReport
from folio.training.plan import Plan

STATE_FILE = "training.safetensors"


class Source(Protocol):
    """What batches come from, and can go on from where it was."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


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
