"""Which checkpoint is the best so far, and whether going on still helps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

PATIENCE = 4
"""Evaluations in a row without a new best after which a run is over."""
TURNED = 0.01
"""Nats above the best that count as a turn and not as noise."""


class OverfittingError(Exception):
    """Validation loss has turned for good. Its text says so plainly."""


@dataclass
class Best:
    """The lowest validation loss of a run and when it was.

    Loss on text that the model trains on goes on falling; loss on text that it has never seen turns when the
    model begins to learn by heart (Prechelt, 1998, "Early stopping - but when?").
    """

    step: int = 0
    val_loss: float = float("inf")
    evaluations_since: int = 0
    is_told: bool = False
    """Whether the turn since this best has been told of."""

    def update(self, step: int, val_loss: float) -> bool:
        """Take in an evaluation; whether it is a new best."""
        if val_loss < self.val_loss:
            self.step, self.val_loss, self.evaluations_since, self.is_told = step, val_loss, 0, False
            return True
        self.evaluations_since += 1
        return False

    def has_just_turned(self, val_loss: float) -> bool:
        """Whether this is the moment to tell: worse by more than noise, twice in a row or more, and not told."""
        has_turned = self.evaluations_since > 1 and val_loss > self.val_loss + TURNED
        is_news, self.is_told = has_turned and not self.is_told, self.is_told or has_turned
        return is_news

    def stop_if_hopeless(self, val_loss: float) -> None:
        """Raise OverfittingError after PATIENCE evaluations without a new best."""
        if self.evaluations_since >= PATIENCE and val_loss > self.val_loss + TURNED:
            raise OverfittingError(
                f"Stopped: validation loss has not improved since step {self.step:,}, "
                f"so more training would only learn the text by heart. The model of step {self.step:,} is kept."
            )

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
