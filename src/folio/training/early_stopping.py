"""Early stopping: which evaluation was the best, and whether more training still helps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

PATIENCE = 4
"""Evaluations in a row without a new best after which a run stops."""
MIN_DELTA = 0.01
"""Nats above the best that count as worse and not as noise."""


class OverfittingError(Exception):
    """Validation loss has stopped improving. The message is for the user."""

    exit_code = 0
    """Of the ranks of a distributed run: it ends well."""


@dataclass
class EarlyStopping:
    """Track the lowest validation loss of a run.

    Training loss goes on falling; validation loss turns when the model begins to memorize (Prechelt, 1998, "Early
    stopping - but when?").
    """

    step: int = 0
    val_loss: float = float("inf")
    evaluations_since: int = 0
    warned: bool = False
    """Whether `should_warn` has been true since this best."""

    def update(self, step: int, val_loss: float) -> bool:
        """Record an evaluation and return whether it is a new best."""
        if val_loss < self.val_loss:
            self.step, self.val_loss, self.evaluations_since, self.warned = step, val_loss, 0, False
            return True
        self.evaluations_since += 1
        return False

    def should_warn(self, val_loss: float) -> bool:
        """Return True once after each best: when the loss is above it, by more than noise, for the second time in a row."""
        is_worse = self.evaluations_since > 1 and val_loss > self.val_loss + MIN_DELTA
        should, self.warned = is_worse and not self.warned, self.warned or is_worse
        return should

    def check(self, val_loss: float) -> None:
        """Raise OverfittingError after PATIENCE evaluations without a new best."""
        if self.evaluations_since >= PATIENCE and val_loss > self.val_loss + MIN_DELTA:
            raise OverfittingError(
                f"Stopped early: validation loss has not improved since step {self.step:,}, so more training would "
                f"only memorize the text. The model of step {self.step:,} is kept."
            )

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
