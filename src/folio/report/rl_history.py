"""What a run of PPO or GRPO has measured so far, as series over its rollouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from statistics import fmean
from typing import Any, NamedTuple

from folio.errors import UserError
from folio.files import read_lines
from folio.runs.directory import RunDirectory

STAGES = ("ppo", "grpo")
EDGE_SHARE = 0.2
"""Of a run, at each end: the mean over several rollouts is steadier than one, and a fifth is still the end."""

Take = Callable[[Sequence[float]], float]
"""Makes one value of those of a rollout's steps."""
first, last = itemgetter(0), itemgetter(-1)


class Series(NamedTuple):
    """A figure over the rollouts at which it was measured."""

    rollouts: Sequence[int]
    values: Sequence[float]

    def __bool__(self) -> bool:
        return bool(self.values)

    @property
    def edge(self) -> int:
        """How many values are a fifth of the series, at least one."""
        return max(1, round(EDGE_SHARE * len(self.values)))

    @property
    def early(self) -> float:
        """The mean of the first fifth."""
        return fmean(self.values[: self.edge])

    @property
    def late(self) -> float:
        """The mean of the last fifth."""
        return fmean(self.values[-self.edge :])

    def first_where(self, holds: Callable[[float], bool]) -> int:
        """The first rollout whose value is such; the last one where none is."""
        pairs = zip(self.rollouts, self.values, strict=True)
        return next((rollout for rollout, value in pairs if holds(value)), self.rollouts[-1])


@dataclass(frozen=True)
class History:
    """records: the lines of metrics.jsonl, at least one. before: held-out figures before the first step, if they
    were measured. config: the settings of the run. Rollouts count from 1, and 0 is before the first."""

    stage: str
    status: str
    records: Sequence[Mapping[str, float]]
    before: Mapping[str, float]
    config: Mapping[str, Any]

    @classmethod
    def of(cls, run: RunDirectory) -> History:
        """What a run has written, finished or not. Raises UserError where it is no such run, where nothing has been
        measured yet, and where its files are damaged."""
        if not run.exists:
            raise UserError(f"{run.path}: no such run.")
        info = run.read_info()
        if info["stage"] not in STAGES:
            raise UserError(
                f"{run.path} was made by folio {info['stage']}: rl-report reads runs of ppo and grpo."
            )
        before = info.get("before") or {}
        if not is_measured(before):
            raise UserError(f"{run.info_file} is damaged: before does not hold figures.")
        return cls(info["stage"], info["status"], read_records(run), before, info["config"])

    @property
    def n_rollouts(self) -> int:
        """Rollouts made."""
        return round(self.records[-1]["rollout"])

    def over_rollouts(self, name: str, take: Take = fmean) -> Series:
        """A figure of training, one value for each rollout: the mean of its steps, or what `take` makes of them.

        take=first: the first step, made with the weights that wrote the rollout. take=last: the one furthest from them.
        """
        kept = [record for record in self.records if name in record]
        by_rollout = [(rollout, list(steps)) for rollout, steps in groupby(kept, key=itemgetter("rollout"))]
        return Series(
            [round(rollout) for rollout, _ in by_rollout],
            [take([step[name] for step in steps]) for _, steps in by_rollout],
        )

    @property
    def evaluations(self) -> Sequence[Mapping[str, float]]:
        """The records with figures on held-out prompts, of which `before` is the first."""
        records = [{"rollout": 0, **self.before}, *self.records]
        return [record for record in records if {"val_reward", "val_kl"} <= record.keys()]

    def held_out(self, name: str) -> Series:
        """A figure on held-out prompts, from before the first rollout on."""
        name = f"val_{name}"
        kept = [record for record in self.evaluations if name in record]
        return Series([round(record["rollout"]) for record in kept], [record[name] for record in kept])

    def setting(self, name: str, default: float) -> float:
        """A number among the settings."""
        value = self.config.get(name, default)
        return value if is_number(value) else default


def read_records(run: RunDirectory) -> Sequence[Mapping[str, float]]:
    """The lines of metrics.jsonl without a last one that is still being written. Raises UserError as above."""
    records = read_lines(run.metrics_file)
    n_whole = run.metrics_file.read_bytes().count(b"\n") if run.metrics_file.exists() else 0
    bad = next((n for n, record in enumerate(records, 1) if not is_record(record)), len(records) + 1)
    if bad <= max(n_whole, len(records)):
        raise UserError(f"{run.metrics_file} is damaged: line {bad} is not a step of a rollout.")
    if not records:
        raise UserError(f"{run.path} has measured nothing yet: wait for its first step.")
    return records


def is_record(value: object) -> bool:
    """Whether this can be a line of such a run."""
    return is_measured(value) and isinstance(value, dict) and {"step", "rollout"} <= value.keys()


def is_measured(value: object) -> bool:
    """Whether these are named figures."""
    return isinstance(value, dict) and all(map(is_number, value.values()))


def is_number(value: object) -> bool:
    """Whether this is a number; JSON's true is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
