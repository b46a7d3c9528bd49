"""Where in a run an action is due that is done a few times, evenly spread."""

from __future__ import annotations

import math

EVALUATIONS = 10
"""Evaluations in a run, evenly spread; a checkpoint comes before each. Fewer where they would take too much of its time."""


def is_due(times: int, step: int, last_step: int) -> bool:
    """Return whether an action is due after a step: at equal intervals, at most so many times, and after the last step."""
    return step % _interval(times, last_step) == 0 or step == last_step


def times_due(times: int, done: int, last_step: int) -> int:
    """Return how often it is due after step `done`, up to the last step."""
    interval = _interval(times, last_step)
    return math.ceil(last_step / interval) - done // interval


def _interval(times: int, last_step: int) -> int:
    return math.ceil(last_step / times)
