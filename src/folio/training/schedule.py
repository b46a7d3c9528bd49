"""How the learning rate changes over a run."""

from __future__ import annotations

from dataclasses import dataclass

from folio.config import Fraction, Settings, Whole


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Settings):
    """Linear warmup, constant rate, linear decay: a trapezoid (Hägele et al., 2024)."""

    warmup_steps: Whole = 10
    """Steps over which the learning rate rises from near 0, at most half of the run."""
    decay_fraction: Fraction = 0.6
    """Share of the run, at its end, over which the learning rate falls linearly."""
    final_fraction: Fraction = 0.02
    """Share of the learning rate that is left at the last step."""

    def multiplier(self, step: int, total_steps: int) -> float:
        """Return the factor of the learning rate in step `step` (the first is 1, the last `total_steps`)."""
        rise = min(1.0, step / (min(self.warmup_steps, total_steps // 2) + 1))
        decay_steps = self.decay_fraction * total_steps
        # The decay begins after the first step, or the only step of a short run would be of no use.
        remaining = (total_steps - step) / decay_steps if decay_steps and step > 1 else 1.0
        fall = self.final_fraction + (1 - self.final_fraction) * min(1.0, remaining)
        return rise * fall
