"""The time that a run may take, and how many steps fit into it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from folio.training.spacing import EVALUATIONS, times_due

EVALUATION_SHARE = 0.2
"""Share of the time that all evaluations may take."""
FINISH_SECONDS = 5.0
"""Reserved for what comes after the last step: the curve, a last sample."""

_STARTED: ContextVar[float] = ContextVar("started")


@contextmanager
def clock() -> Iterator[None]:
    """Count the time of what runs in the block, such as a command with all that it imports, from here."""
    token = _STARTED.set(time.monotonic())
    try:
        yield
    finally:
        _STARTED.reset(token)


@dataclass
class Budget:
    """How long a run may take, from the start of the command to the end of its last step, with evaluations and saving.

    seconds: infinite where there is no limit. most_steps: the run makes no more, whatever the time. multiple: steps that
    belong together, such as those that learn from one rollout. evaluations: how many there are in the run. pause_seconds: how
    long a save with an evaluation takes; it is measured on the way. spent_before: seconds of earlier sessions of a run that is resumed.
    """

    seconds: float
    most_steps: int
    multiple: int = 1
    evaluations: int = EVALUATIONS
    pause_seconds: float = 0.0
    spent_before: float = 0.0
    started: float = field(default_factory=lambda: _STARTED.get(time.monotonic()))

    @classmethod
    def of_minutes(cls, minutes: float | None, most_steps: int, **more: float) -> Budget:
        """Return a budget of so many minutes, or without a limit."""
        return cls(math.inf if minutes is None else 60 * minutes, most_steps, **more)  # type: ignore[arg-type]

    @property
    def spent(self) -> float:
        """Seconds since the run began, without those between its sessions."""
        return self.spent_before + time.monotonic() - self.started

    def duration(self, steps: int, step_seconds: float) -> float:
        """Return the estimated seconds of so many steps, with the evaluations between them."""
        return steps * step_seconds + times_due(self.evaluations, 0, steps) * self.pause_seconds

    def affordable_evaluations(self) -> int:
        """Return how many evaluations the time allows: one at least, and EVALUATIONS at most."""
        if math.isinf(self.seconds) or not self.pause_seconds:
            return EVALUATIONS
        n = int(EVALUATION_SHARE * (self.seconds - self.spent) / self.pause_seconds)
        return max(1, min(EVALUATIONS, n))

    def steps(self, done: int, step_seconds: float, evaluations_due: int = 0) -> int:
        """Return how many steps the run can make in all: one at least, and no less than those made.

        done: steps made so far. step_seconds: of one step. evaluations_due: evaluations of those steps that are to come.
        """
        if math.isinf(self.seconds):
            return self.most_steps
        left = self.seconds - self.spent - FINISH_SECONDS - evaluations_due * self.pause_seconds
        # Fewer evaluations leave time for more steps, and more steps may need more evaluations.
        fitting = (
            steps
            for n_pauses in range(self.evaluations + 1)
            if (steps := self._rounded(done + int((left - n_pauses * self.pause_seconds) / step_seconds)))
            > done
            and times_due(self.evaluations, done, steps) <= n_pauses
        )
        return max(fitting, default=max(1, done))

    def _rounded(self, steps: int) -> int:
        return min(math.ceil(steps / self.multiple) * self.multiple, self.most_steps)
