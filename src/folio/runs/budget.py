"""The time that a run may take, and how many steps fit into it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

EVALUATIONS = 10
"""Evaluations in a run, evenly spread; a checkpoint comes before each."""
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
    belong together, such as those that learn from one rollout. pause_seconds: how long a save with an evaluation takes;
    it is measured on the way. spent_before: seconds of earlier sessions of a run that is resumed.
    """

    seconds: float
    most_steps: int
    multiple: int = 1
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
        return steps * step_seconds + EVALUATIONS * self.pause_seconds

    def steps(self, done: int, step_seconds: float, planned: int | None = None) -> int:
        """Return how many steps the run can make in all, at least one more than none.

        done: steps made so far. step_seconds: of one step. planned: all steps as planned so far, which tell how many
        evaluations are left.
        """
        if math.isinf(self.seconds):
            return self.most_steps
        share_left = 1 - done / planned if planned else 1.0
        pauses = math.ceil(EVALUATIONS * share_left) * self.pause_seconds
        left = self.seconds - self.spent - FINISH_SECONDS - pauses
        steps = done + max(0, int(left / step_seconds))
        rounded = math.ceil(steps / self.multiple) * self.multiple
        return max(1, done, min(rounded, self.most_steps))
