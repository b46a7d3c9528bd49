"""A model in training: all that a checkpoint must hold, and how it is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from folio.checkpoint import load_state, random_state, restore_random_state, save_state
from folio.files import write_directory
from folio.model.directory import load_weights
from folio.model.score import ScoreModel
from folio.model.transformer import Transformer
from folio.runs.budget import Budget
from folio.runs.load import save_model_and_tokenizer
from folio.runtime import Runtime
from folio.tokenizer.protocol import Tokenizer
from folio.training.early_stopping import EarlyStopping
from folio.training.loop import StepReport
from folio.training.plan import Plan
from folio.training.task import Task

STATE_FILE = "training.safetensors"


@dataclass
class Training:
    """A training task with everything that a run needs around it.

    model: what is saved as a model directory. evaluation: maps the model to held-out metrics; if `val_loss` is among
    them, it decides which model is the best, else the newest is. budget: the time for it, which limits the task's steps.
    critic: PPO's, which is saved beside the model. tokens, train_seconds: up to the last step.
    """

    model: Transformer
    tokenizer: Tokenizer
    task: Task
    evaluation: Callable[[Any], Mapping[str, float]]
    runtime: Runtime
    plan: Plan
    budget: Budget
    critic: ScoreModel | None = None
    best: EarlyStopping = field(default_factory=EarlyStopping)
    tokens: int = 0
    train_seconds: float = 0.0

    def reports(self, first_step: int) -> Iterator[StepReport]:
        """Make the steps from `first_step` on, counting tokens and seconds."""
        for report in self.task.reports(first_step):
            self.tokens += report.n_tokens
            self.train_seconds += report.seconds
            yield report

    def set_steps(self, steps: int) -> None:
        """Change how many steps there are in all."""
        self.task.steps = steps
        self.plan = replace(self.plan, steps=steps)

    def set_evaluations(self, evaluations: int) -> None:
        """Change how many evaluations there are in all."""
        self.budget.evaluations = evaluations
        self.plan = replace(self.plan, evaluations=evaluations)

    def save(self, directory: Path, report: StepReport) -> None:
        """Write a checkpoint, which is a model directory as well."""

        def write(temporary: Path) -> None:
            self.save_model(temporary)
            state = {
                "optimizers": [optimizer.state_dict() for optimizer in self.task.optimizers],
                "source": self.task.source.state_dict(),
                "random": random_state(),
                "best": self.best.state_dict(),
                "tokens": self.tokens,
                "train_seconds": self.train_seconds,
                "seconds": self.budget.spent,
                "pause_seconds": self.budget.pause_seconds,
                "steps": self.task.steps,
                "report": asdict(report),
                "critic": self.critic.state_dict() if self.critic else {},
            }
            save_state(temporary / STATE_FILE, state)

        write_directory(directory, write)

    def load(self, directory: Path) -> StepReport:
        """Restore a checkpoint to the last bit, and return the report of its last step."""
        load_weights(self.model, directory)
        state = load_state(directory / STATE_FILE)
        for optimizer, saved in zip(self.task.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.task.source.load_state_dict(state["source"])
        if self.critic:
            self.critic.load_state_dict(state["critic"])
        self.best.load_state_dict(state["best"])
        self.tokens, self.train_seconds = state["tokens"], state["train_seconds"]
        # Runs of a folio before 0.2 have no budget.
        self.budget.spent_before = state.get("seconds", self.train_seconds)
        self.budget.pause_seconds = state.get("pause_seconds", self.budget.pause_seconds)
        self.set_steps(state.get("steps", self.task.steps))
        restore_random_state(state["random"])
        return StepReport(**state["report"])

    def save_model(self, directory: Path) -> None:
        """Write model and tokenizer as a Hugging Face model directory."""
        save_model_and_tokenizer(self.model, self.tokenizer, directory)
