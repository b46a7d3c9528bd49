"""Divide the time of a chain among its stages, and say what to expect of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from types import MappingProxyType

from folio.activity import activity
from folio.log import format_duration
from folio.runs.budget import Budget
from folio.runs.pace import RecipeTimes, measure_pace
from folio.runtime import RuntimeConfig, describe, start_runtime

END_SECONDS = 10.0
"""Reserved for comparing the models of all stages at the end."""


def plan_time(
    times: RecipeTimes | None, stages: Sequence[str], minutes: float | None
) -> tuple[Shares, dict[str, str]]:
    """Divide the time among the stages that are left, and say in words how long they take on this machine and, where there is
    less time, what quality to expect."""
    if times is None or not stages:
        shares, names = Shares({}, stages, minutes), ", ".join(stages)
        limit = (
            {} if math.isinf(shares.limit) else {"limit": f"{format_duration(shares.limit)} for all of them"}
        )
        how = "each makes as much as fits into its share" if limit else "--minutes N limits it"
        return shares, {"time": f"not known for {names}: this recipe was not timed; {how}", **limit}
    with activity("Measuring this machine"):
        runtime = start_runtime(RuntimeConfig(compile="off"))
        pace = measure_pace(runtime)
    shares = Shares(times.stages, stages, minutes, times.needed(pace))
    seconds = times.seconds(stages, pace)
    told = {
        "machine": describe(runtime.device),
        "time": f"about {format_duration(seconds)} for {', '.join(stages)}; "
        f"{format_duration(times.seconds(stages, times.pace))} on {times.hardware}",
    }
    if math.isinf(shares.limit):
        told["shorter"] = "--minutes N makes as much of it as fits into N minutes"
    elif shares.limit < seconds:
        told |= less_time(times, stages, shares, pace)
    else:
        told["limit"] = f"{format_duration(shares.limit)} for all of them"
    return shares, told


def less_time(times: RecipeTimes, stages: Sequence[str], shares: Shares, pace: float) -> dict[str, str]:
    """Return what quality to expect of stages that have less time than they take, in words."""
    lines = {"limit": f"{format_duration(shares.limit)}: fewer steps of each; without --minutes, all of them"}
    if "pretrain" in stages:
        share = min(1.0, shares.seconds("pretrain") / times.seconds(["pretrain"], pace))
        lines["quality"] = (
            f"pretraining makes about {share:.0%} of its steps: "
            f"expect a validation loss {'near' if share >= times.least_share else 'above'} "
            f"{times.expected_loss(share):.2f}, where all steps reach "
            f"{times.expected_loss(1.0):.2f}, and answers to match"
        )
    if "sft" in stages and times.met:
        share = min(1.0, shares.seconds("sft") / times.seconds(["sft"], pace))
        lines["listening"] = (
            f"fine-tuning makes about {share:.0%} of its steps: expect {times.expected_met(share):.0%} of requests to be "
            f"met after it, where all steps reach {times.expected_met(1.0):.0%}"
        )
    return lines


class Shares:
    """Divides the time among the stages that are left.

    A stage first gets what it needs (see `RecipeTimes.needed`), but all together no more than MOST_NEEDED of the time. The
    rest goes by the square root of how long each takes without a limit: in proportion, a short stage would hardly get more
    than its start-up, and the next ones cannot use what it makes then. What a stage leaves over is for those after it.

    seconds: of each stage; one that is not known counts as the mean of the others. needed: of some.
    """

    MOST_NEEDED = 0.6

    def __init__(
        self,
        seconds: Mapping[str, float],
        stages: Iterable[str],
        minutes: float | None,
        needed: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        usual = fmean(seconds.values()) if seconds else 1.0
        self._weights = {name: math.sqrt(seconds.get(name, usual)) for name in stages}
        self._needed = {name: needed[name] for name in self._weights if name in needed}
        self._budget = Budget.of_minutes(minutes, most_steps=1)

    @property
    def limit(self) -> float:
        """Seconds for all stages; infinite where there is no limit."""
        return self._budget.seconds

    def seconds(self, stage: str) -> float:
        """Return the share of a stage of what is left, those before it in the chain being over."""
        left = self.limit - END_SECONDS - self._budget.spent
        total_needed = sum(self._needed.values())
        kept = min(1.0, self.MOST_NEEDED * left / total_needed) if total_needed else 0.0
        rest = left - kept * total_needed
        share = self._weights[stage] / sum(self._weights.values())
        return max(1.0, kept * self._needed.get(stage, 0.0) + share * rest)

    def flags(self, stage: str) -> list[str]:
        """Return the flags that limit a stage, which is the next one, to its share."""
        if math.isinf(self.limit) or stage not in self._weights:
            return []
        seconds = self.seconds(stage)
        del self._weights[stage]
        self._needed.pop(stage, None)
        return ["--minutes", f"{seconds / 60:.3f}"]
