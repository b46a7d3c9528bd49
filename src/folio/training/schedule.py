"""How the learning rate changes over a run."""

from __future__ import annotations

from dataclasses import dataclass

from folio.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Up, along, down: a trapezoid (Hägele et al., 2024)."""

    warmup_steps: int = 10
    """Steps over which the learning rate rises from near 0."""
    decay_fraction: float = 0.6
    """Share of the run, at its end, over which it falls in a straight line."""
    final_fraction: float = 0.02
    """What is left of it at the last step."""

    def __post_init__(self) -> None:
        if not (0 <= self.decay_fraction <= 1 and 0 <= self.final_fraction <= 1):
            raise UserError("decay_fraction and final_fraction must lie between 0 and 1.")
        if self.warmup_steps < 0:
            raise UserError(f"warmup_steps is {self.warmup_steps}: it must be at least 0.")

    def multiplier(self, step: int, total_steps: int) -> float:
        """Share of the peak learning rate to use in step `step` (the first is 1, the last `total_steps`)."""
        rise = min(1.0, step / (self.warmup_steps + 1))
        decay_steps = self.decay_fraction * total_steps
        remaining = (total_steps - step) / decay_steps if decay_steps else 1.0
        fall = self.final_fraction + (1 - self.final_fraction) * min(1.0, remaining)
        return rise * fall
