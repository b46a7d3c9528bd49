"""The metrics of a PPO or GRPO run as series over its rollouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from statistics import fmean
from typing import Any, NamedTuple

from folio.config import flatten
from folio.errors import UserError
from folio.runs.directory import RunDirectory, is_metrics, is_number

EDGE_SHARE = 0.2
"""Share of a run that counts as its start and as its end: a mean over several rollouts is less noisy than one."""

Reduction = Callable[[Sequence[float]], float]
"""Reduces the values of a rollout's steps to one."""
first, last = itemgetter(0), itemgetter(-1)


class Series(NamedTuple):
    """The values of a metric and the rollouts at which it was measured."""

    rollouts: Sequence[int]
    values: Sequence[float]

    def __bool__(self) -> bool:
        return bool(self.values)

    @property
    def edge(self) -> int:
        """Number of values in a fifth of the series, at least one."""
        return max(1, round(EDGE_SHARE * len(self.values)))

    @property
    def early(self) -> float:
        """Mean of the first fifth."""
        return fmean(self.values[: self.edge])

    @property
    def late(self) -> float:
        """Mean of the last fifth."""
        return fmean(self.values[-self.edge :])

    def first_where(self, holds: Callable[[float], bool]) -> int:
        """Return the first rollout whose value satisfies a condition, or the last rollout if none does."""
        pairs = zip(self.rollouts, self.values, strict=True)
        return next((rollout for rollout, value in pairs if holds(value)), self.rollouts[-1])


@dataclass(frozen=True)
class History:
    """The metrics of a PPO or GRPO run, finished or not.

    records: the lines of metrics.jsonl, at least one. before: held-out metrics before the first step, if measured.
    config: the run's settings by name. Rollouts count from 1; 0 is before the first.
    """

    stage: str
    status: str
    records: Sequence[Mapping[str, float]]
    before: Mapping[str, float]
    config: Mapping[str, Any]

    @classmethod
    def from_run(cls, run: RunDirectory) -> History:
        """Read the history of a run.

        Raises UserError if it is not a PPO or GRPO run, has no metrics yet, or is damaged.
        """
        if not run.exists:
            raise UserError(f"{run.path}: no such run.")
        info = run.read_info()
        steps = run.read_metrics()
        if not steps:
            raise UserError(f"{run.path} has no metrics yet: wait for its first step.")
        records = [step for step in steps if "rollout" in step]
        if not records:
            raise UserError(
                f"{run.path} was made by folio {info['stage']}: rl-report reads runs of ppo and grpo."
            )
        before = info.get("before") or {}
        if not is_metrics(before):
            raise UserError(f"{run.info_file} is damaged: before does not hold metrics.")
        return cls(info["stage"], info["status"], records, before, flatten(info["config"]))

    @property
    def n_rollouts(self) -> int:
        """Number of rollouts so far."""
        return round(self.records[-1]["rollout"])

    def over_rollouts(self, name: str, reduce: Reduction = fmean) -> Series:
        """Return a training metric with one value per rollout, by default the mean over its steps.

        reduce=first takes the step made with the weights that sampled the rollout, reduce=last the most off-policy one.
        """
        kept = [record for record in self.records if name in record]
        by_rollout = [(rollout, list(steps)) for rollout, steps in groupby(kept, key=itemgetter("rollout"))]
        return Series(
            [round(rollout) for rollout, _ in by_rollout],
            [reduce([step[name] for step in steps]) for _, steps in by_rollout],
        )

    @property
    def evaluations(self) -> Sequence[Mapping[str, float]]:
        """The records with held-out metrics; the first is `before`, if it was measured."""
        records = [{"rollout": 0, **self.before}, *self.records]
        return [record for record in records if {"val_reward", "val_kl"} <= record.keys()]

    def held_out(self, name: str) -> Series:
        """Return a held-out metric over the evaluations, including the one before the first rollout."""
        name = f"val_{name}"
        kept = [record for record in self.evaluations if name in record]
        return Series([round(record["rollout"]) for record in kept], [record[name] for record in kept])

    def setting(self, name: str, default: float) -> float:
        """Return a numeric setting, or `default` if it is missing or not a number."""
        value = self.config.get(name, default)
        return value if is_number(value) else default
