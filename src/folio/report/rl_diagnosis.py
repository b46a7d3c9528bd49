"""Diagnose a PPO or GRPO run by its metrics: one function for each known failure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from folio.log import format_number
from folio.report.rl_history import History, Reduction, Series, first, last

TREND_ROLLOUTS = 5
"""Minimum number of rollouts for a trend."""
REWARD_ROLLOUTS = 10
"""Minimum for a trend of the reward: 64 answers estimate its mean to an eighth of a standard deviation only."""
GOLD_EVALUATIONS = 4
"""Minimum number of evaluations to find a peak of the gold reward."""
KL_WINDOW = 5
"""Rollouts to average the KL over, as a single one is too noisy."""
NEGATIVE_KL = -0.1
"""Nats per answer. A KL is never negative, but its estimate k1 has a standard deviation of about sqrt(2 KL / answers):
the mean over five rollouts of 16 answers or more falls this low by chance once in thousands."""
FIRST_PASS_KL = 1e-3
"""Nats per token between sampling and training with the same weights. Measured on the model of docs/sft.md: 1e-9 in
float32, 8e-5 in bfloat16; 7e-3 with a temperature of 0.9 instead of 1, 0.2 with dropout 0.1."""
FIRST_PASS_RATIO = 0.01
"""Tolerance of the mean ratio there. It is less sensitive: 1.001 in the same case of dropout."""
HIGH_KL = 0.5
"""Nats per token: on average each token is e^0.5 = 1.6 times as likely as under the reference."""
LOW_ENTROPY = 0.4
"""Share of the initial entropy below which answers hardly vary."""
LONGER, SHORTER = 1.6, 0.5
"""Multiples of the initial length."""
FEWER_STOPS = 0.15
"""Decrease of the share of answers that stop; 64 answers estimate it to about 0.04."""
FLAT_REWARD, FALLEN_REWARD = 0.1, -0.25
"""Gains of the mean reward in standard deviations of the answers' rewards: less than the first is within chance for a
few dozen rollouts, less than the second is not."""
WEAK_SIGNAL = 0.02
"""Standard deviation of the rewards; that of a 0-or-1 reward which one answer in 2,500 gets."""
EQUAL_GROUPS = 0.8
"""Share of GRPO's groups whose answers all get the same reward, and so no gradient."""
TINY_KL = 0.1
"""Nats per answer below which the policy has hardly changed."""
LOW_EXPLAINED_VARIANCE = -0.05
"""Explained variance of a critic worse than a constant, with a margin for noise around 0."""
HIGH_CLIP_FRACTION = 0.3
"""Share of the tokens in the last step on a rollout; 0.05 to 0.2 is usual."""
GOLD_ERRORS = 3.0
"""Standard errors by which the last two evaluations must lie below the highest one. The maximum is biased upward: over
eleven evaluations without any trend, one run in twenty would fall as much."""
LOW_DISTINCT = 0.6
"""Share of the initial distinct-2."""
EXPLODED = 10.0
"""Multiple of the median gradient norm."""

LOWER_RATES = "lower --learning-rate, --embedding-learning-rate and --head-learning-rate"

Severity = Literal["fault", "warning", "note"]
SEVERITIES: Sequence[Severity] = ("fault", "warning", "note")
"""fault: the metrics cannot be trusted. warning: training is impaired. note: possibly harmless."""


@dataclass(frozen=True)
class Finding:
    """A problem of a run. observed: the metrics that show it. cause: the usual causes. advice: possible fixes."""

    severity: Severity
    title: str
    observed: str
    cause: str
    advice: str


def diagnose(history: History) -> list[Finding]:
    """Return all findings, the most severe first."""
    found = [finding for check in CHECKS if (finding := check(history)) is not None]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def negative_kl(history: History) -> Finding | None:
    """Find a mean k1 clearly below 0 over several rollouts."""
    kl = history.over_rollouts("kl")
    if not kl:
        return None
    length = min(KL_WINDOW, len(kl.values))
    means = [fmean(kl.values[i : i + length]) for i in range(len(kl.values) - length + 1)]
    lowest = min(means)
    if not lowest < NEGATIVE_KL:
        return None
    start = means.index(lowest)
    return Finding(
        "fault",
        "The KL is negative",
        f"k1 is {lowest:.2f} nats per answer on average in rollouts {kl.rollouts[start]} to "
        f"{kl.rollouts[start + length - 1]}. A true KL is never negative.",
        "The answers were not sampled from the distribution whose log-probabilities are used: sampling was truncated "
        "(top-k, top-p), or had another temperature, or answers were edited afterwards.",
        "Sample rollouts from the full distribution, at the temperature that the loss uses.",
    )


def ratio_off_one(history: History) -> Finding | None:
    """Find ratios other than 1 in the first step on a rollout, which uses the weights that sampled it."""
    ratio, kl = history.over_rollouts("ratio", first), history.over_rollouts("approx_kl", first)
    off = [
        rollout
        for rollout, each, distance in zip(ratio.rollouts, ratio.values, kl.values, strict=False)
        if abs(each - 1) > FIRST_PASS_RATIO or distance > FIRST_PASS_KL
    ]
    if not off:
        return None
    return Finding(
        "fault",
        "The ratio is not 1 on first steps",
        f"In {len(off)} of {len(ratio.values)} rollouts, from rollout {off[0]} on: ratio up to "
        f"{max(ratio.values, key=lambda each: abs(each - 1)):.4f}, approx_kl up to {max(kl.values):.2g} nats per token.",
        "Sampling and training disagree on the same weights: dropout in training, another temperature, another "
        "precision, or stale weights in the sampler.",
        "Train without dropout and at the sampling temperature; try --precision float32. If it persists, it is a bug.",
    )


def high_kl(history: History) -> Finding | None:
    """Find a KL so high that the reward model no longer knows the policy's answers."""
    kl, length = history.over_rollouts("kl"), history.over_rollouts("length")
    if not (kl and length) or not kl.late > HIGH_KL * length.late:
        return None
    bound = HIGH_KL * length.late
    return Finding(
        "warning",
        "The policy is far from its reference",
        f"The KL is {kl.late:.1f} nats per answer at the end, {kl.late / length.late:.2f} per token; it passed "
        f"{bound:.1f} in rollout {kl.first_where(lambda value: value > bound)}.",
        "Steps are too large, or --kl-coef is too low. A reward model is unreliable this far from its training data.",
        f"Raise --kl-coef (it is {history.setting('kl_coef', 0):g}), or {LOWER_RATES}.",
    )


def entropy_collapse(history: History) -> Finding | None:
    """Find an entropy so low that the policy no longer explores."""
    entropy = trend(history, "entropy")
    if entropy is None or not entropy.late < LOW_ENTROPY * entropy.early:
        return None
    bound = LOW_ENTROPY * entropy.early
    return Finding(
        "warning",
        "The entropy has collapsed",
        f"From {entropy.early:.2f} to {entropy.late:.2f} nats per token; below {bound:.2f} from rollout "
        f"{entropy.first_where(lambda value: value < bound)} on.",
        "The policy is certain of nearly every token and no longer explores. If there is one right answer and the "
        "policy gives it, this is fine.",
        f"Raise --kl-coef, {LOWER_RATES}, or stop earlier with --rollouts.",
    )


def longer_answers(history: History) -> Finding | None:
    """Find answers that grow longer, the most common way to exploit a reward."""
    length = trend(history, "length")
    if length is None or not length.late > LONGER * length.early:
        return None
    return Finding(
        "warning",
        "Answers grow longer",
        f"From {length.early:.0f} to {length.late:.0f} tokens; longest in rollout "
        f"{length.rollouts[length.values.index(max(length.values))]}. The limit is "
        f"{history.setting('max_new_tokens', math.nan):.0f}.",
        "The reward favors length, as do human raters and the reward models trained on their preferences.",
        "Read the samples. If longer is not better: raise --missing-stop-penalty or --kl-coef, add a reward that "
        "penalizes length, or balance the preferences by length.",
    )


def shorter_answers(history: History) -> Finding | None:
    """Find answers that grow shorter."""
    length = trend(history, "length")
    if length is None or not length.late < SHORTER * length.early:
        return None
    return Finding(
        "warning",
        "Answers shrink",
        f"From {length.early:.0f} to {length.late:.0f} tokens; shortest in rollout "
        f"{length.rollouts[length.values.index(min(length.values))]}.",
        "Short answers are safe: few mistakes, little KL, and no penalty for a missing stop.",
        "Read the samples. If they say too little: lower --missing-stop-penalty, or reward completeness.",
    )


def fewer_stops(history: History) -> Finding | None:
    """Find a growing share of answers that are cut off by the length limit."""
    share = trend(history, "stop_share")
    if share is None or not share.late < share.early - FEWER_STOPS:
        return None
    bound = share.early - FEWER_STOPS
    return Finding(
        "warning",
        "Fewer answers stop by themselves",
        f"From {share.early:.0%} to {share.late:.0%}; below {bound:.0%} from rollout "
        f"{share.first_where(lambda value: value < bound)} on.",
        "Unfinished answers pay: the reward grows with length, or does not notice that an answer is cut off.",
        f"Raise --missing-stop-penalty (it is {history.setting('missing_stop_penalty', math.nan):g}) or "
        "--max-new-tokens.",
    )


def flat_reward(history: History) -> Finding | None:
    """Find a reward that is no higher at the end than at the start, and its most likely cause."""
    reward, std = trend(history, "reward", minimum=REWARD_ROLLOUTS), trend(history, "reward_std")
    if reward is None or std is None:
        return None
    gain, typical = reward.late - reward.early, fmean(std.values)
    if not FALLEN_REWARD * typical <= gain <= FLAT_REWARD * typical:
        return None
    equal, kl = history.over_rollouts("equal_groups"), history.over_rollouts("kl")
    causes = (
        (
            std.late < WEAK_SIGNAL,
            f"Its standard deviation is {std.late:.3f}: nearly all answers get the same reward, so there is no signal.",
            "If all are good, the run is done. If all are bad, use easier prompts, or a reward with partial credit.",
        ),
        (
            bool(equal) and equal.late > EQUAL_GROUPS,
            f"In {equal.late if equal else 0:.0%} of the groups all answers get the same reward, so no gradient.",
            "Use prompts that are sometimes answered well, or a larger --group-size.",
        ),
        (
            bool(kl) and kl.late < TINY_KL,
            f"The policy has hardly moved: its KL is {format_number(kl.late if kl else 0.0, 2)} nats per answer.",
            "Raise the learning rates or --rollouts, or lower --kl-coef.",
        ),
        (
            True,
            "The policy moves, but not toward reward: the signal is lost in noise.",
            "Use a larger --rollout-size; for PPO, check that the explained variance is above 0.",
        ),
    )
    cause, advice = next((cause, advice) for applies, cause, advice in causes if applies)
    observed = (
        f"{reward.early:.3f} at the start, {reward.late:.3f} at the end; "
        f"the standard deviation of the answers' rewards is {typical:.3f}."
    )
    return Finding("warning", "The reward is flat", observed, cause, advice)


def fallen_reward(history: History) -> Finding | None:
    """Find a reward that is lower at the end than at the start."""
    reward, std = trend(history, "reward", minimum=REWARD_ROLLOUTS), trend(history, "reward_std")
    if reward is None or std is None or not reward.late - reward.early < FALLEN_REWARD * fmean(std.values):
        return None
    best = max(reward.values)
    return Finding(
        "warning",
        "The reward falls",
        f"From {reward.early:.3f} to {reward.late:.3f}; highest in rollout "
        f"{reward.rollouts[reward.values.index(best)]} ({best:.3f}).",
        "Steps so large that they break the language, or a KL penalty that outweighs the reward.",
        f"For the first, {LOWER_RATES}, or lower --epochs; for the second, lower --kl-coef.",
    )


def poor_critic(history: History) -> Finding | None:
    """Find a critic of PPO that predicts returns worse than a constant."""
    explained = trend(history, "explained_variance")
    if explained is None or not explained.late < LOW_EXPLAINED_VARIANCE:
        return None
    return Finding(
        "warning",
        "The critic explains nothing",
        f"Explained variance is {explained.late:.2f} at the end; that of a constant is 0.",
        "Advantages are noisier than without a critic. It follows the policy too slowly, or it was initialized from a "
        "reward model, which was trained on whole answers only.",
        "Raise --value-clip-range or --epochs, or use grpo, which has no critic. (--vf-coef changes little: the critic "
        "has its own optimizer, and Adam's steps do not scale with the loss.)",
    )


def much_clipping(history: History) -> Finding | None:
    """Find steps that move too many tokens beyond the clip range."""
    clipped = trend(history, "clip_fraction", last)
    if clipped is None or not fmean(clipped.values) > HIGH_CLIP_FRACTION:
        return None
    worst = max(clipped.values)
    return Finding(
        "warning",
        "Too much is clipped",
        f"{fmean(clipped.values):.0%} of the tokens in the last step on a rollout, most in rollout "
        f"{clipped.rollouts[clipped.values.index(worst)]} ({worst:.0%}).",
        "Each rollout moves the policy too far, and tokens beyond the clip range get no gradient.",
        f"Lower --epochs, or {LOWER_RATES}.",
    )


def overoptimization(history: History) -> Finding | None:
    """Find a gold reward that falls while the reward rises (Gao et al., 2022)."""
    points = [each for each in history.evaluations if "val_gold" in each]
    if len(points) < GOLD_EVALUATIONS:
        return None
    peak, end = max(points, key=lambda point: point["val_gold"]), points[-2:]
    gold, reward = (fmean(point[name] for point in end) for name in ("val_gold", "val_reward"))
    error = peak.get("val_gold_std", 0.0) / math.sqrt(max(1, history.setting("validation_prompts", 1)))
    if not (peak["val_gold"] - gold > GOLD_ERRORS * error and reward > peak["val_reward"]):
        return None
    return Finding(
        "warning",
        "The reward is overoptimized",
        f"The gold reward was highest at rollout {peak['rollout']:.0f} (KL {peak['val_kl']:.1f} nats): "
        f"{peak['val_gold']:.3f}, and {gold:.3f} at the end, while the reward rose from {peak['val_reward']:.3f} to "
        f"{reward:.3f}.",
        "The reward is only a proxy. Optimized further, the policy finds answers that score well without being "
        "better: Goodhart's law (Gao et al., 2022).",
        f"Stop at --rollouts {max(1, round(peak['rollout']))}, raise --kl-coef, or train the reward model on more "
        "preferences, including answers of this policy.",
    )


def mode_collapse(history: History) -> Finding | None:
    """Find answers that use the same words for every prompt."""
    distinct = history.held_out("distinct_2")
    if len(distinct.values) < 2 or not fmean(distinct.values[-2:]) < LOW_DISTINCT * distinct.values[0]:
        return None
    bound = LOW_DISTINCT * distinct.values[0]
    return Finding(
        "warning",
        "Answers are all alike",
        f"distinct-2 fell from {distinct.values[0]:.2f} to {distinct.values[-1]:.2f}, below {bound:.2f} at rollout "
        f"{distinct.first_where(lambda value: value < bound)}.",
        "Mode collapse: the policy uses one rewarded phrase everywhere. (Longer answers also lower it a little.)",
        "Raise --kl-coef, stop earlier, or use a reward that depends on the prompt.",
    )


def exploding_gradient(history: History) -> Finding | None:
    """Find a step whose gradient norm is far above the median."""
    norms = trend(history, "gradient_norm", max)
    if norms is None or not max(norms.values) > EXPLODED * median(norms.values):
        return None
    worst = max(norms.values)
    return Finding(
        "note",
        "A gradient exploded",
        f"{worst:.3g} in rollout {norms.rollouts[norms.values.index(worst)]}, where {median(norms.values):.3g} is usual.",
        "A few tokens with huge ratios, or outliers among the rewards. It was clipped to --max-norm; still, check "
        "whether reward or KL jump at that rollout.",
        "If they do: whiten the rewards (--whiten-rewards), bound them, or lower --max-norm.",
    )


def trend(
    history: History, name: str, reduce: Reduction = fmean, minimum: int = TREND_ROLLOUTS
) -> Series | None:
    """Return a metric over rollouts, or None if it has fewer than `minimum` values."""
    series = history.over_rollouts(name, reduce)
    return series if len(series.values) >= minimum else None


CHECKS: Sequence[Callable[[History], Finding | None]] = (
    negative_kl,
    ratio_off_one,
    overoptimization,
    flat_reward,
    fallen_reward,
    high_kl,
    entropy_collapse,
    mode_collapse,
    longer_answers,
    shorter_answers,
    fewer_stops,
    much_clipping,
    poor_critic,
    exploding_gradient,
)
