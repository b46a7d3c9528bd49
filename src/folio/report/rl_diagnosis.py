"""What is wrong with a run of PPO or GRPO, by its figures: one small function for each failure that is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from folio.report.rl_history import History, Series, Take, first, last

TREND_ROLLOUTS = 5
"""Fewer say nothing of where a run is going."""
REWARD_ROLLOUTS = 10
"""The same of the reward, which a rollout of 64 answers tells only to an eighth of a standard deviation."""
GOLD_EVALUATIONS = 4
"""Fewer show no peak."""
STRETCH = 5
"""Rollouts whose mean is looked at where one rollout is too noisy."""
NEGATIVE_KL = -0.1
"""Nats an answer. A KL is never below 0; its estimate k1 varies by about sqrt(2 KL / answers), so the mean over five
rollouts of 16 answers or more comes down here by chance once in thousands."""
FIRST_PASS_KL = 1e-3
"""Nats a token between the weights that wrote and the same weights as they are trained. Measured on the model of
docs/sft.md: 1e-9 in float32, 8e-5 in bfloat16; 7e-3 with a temperature of 0.9 instead of 1, 0.2 with dropout 0.1."""
FIRST_PASS_RATIO = 0.01
"""How far from 1 the mean ratio may be there. It is the blunter sign: 1.001 in the same case of dropout."""
HIGH_KL = 0.5
"""Nats a token: on average, each token is then e^0.5 = 1.6 times as likely as in the reference."""
LOW_ENTROPY = 0.4
"""Of the entropy at the start: below it answers hardly vary, and there is little left to choose between."""
LONGER, SHORTER = 1.6, 0.5
"""Times the length at the start."""
FEWER_STOPS = 0.15
"""Lost of the share of answers that stop; in a rollout of 64 answers it is known to about 0.04."""
FLAT, FALLEN = 0.1, -0.25
"""Standard deviations of the answers' rewards that the mean gains: below the first is no more than chance in a run of
a few dozen rollouts, and below the second is more than chance."""
WEAK_SIGNAL = 0.02
"""Standard deviation of the rewards, or of a 0-or-1 reward that one answer in 2,500 gets."""
EQUAL_GROUPS = 0.8
"""Share of GRPO's groups without a difference: of five prompts only one teaches."""
TINY_KL = 0.1
"""Nats an answer: the policy is where it began."""
BLIND = -0.05
"""Explained variance: one that has learned nothing yet lies at 0, a little to either side."""
HIGH_CLIP_FRACTION = 0.3
"""Of the tokens in the last step on a rollout; 0.05 to 0.2 is usual."""
GOLD_ERRORS = 3.0
"""Standard errors of an evaluation by which the last two must lie below the highest, which is partly luck: if nothing
but chance were at work in eleven evaluations, one run in twenty would lose as much."""
LESS_DISTINCT = 0.6
"""Of distinct-2 at the start."""
EXPLODED = 10.0
"""Times the median of the gradient norms."""

LOWER_RATES = "lower --learning-rate, --embedding-learning-rate and --head-learning-rate"

Severity = Literal["fault", "warning", "note"]
SEVERITIES: Sequence[Severity] = ("fault", "warning", "note")
"""fault: the figures themselves cannot be trusted. warning: the run suffers. note: it may be as it should."""


@dataclass(frozen=True)
class Finding:
    """title: what it is called. happened: with figures, and where. meaning: what it comes from most often."""

    severity: Severity
    title: str
    happened: str
    meaning: str
    advice: str


def diagnose(history: History) -> list[Finding]:
    """All that is wrong, the worst first."""
    found = [finding for check in CHECKS if (finding := check(history)) is not None]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def negative_kl(history: History) -> Finding | None:
    """Mean k1 below 0 for a while, where no KL can be."""
    kl = history.over_rollouts("kl")
    if not kl:
        return None
    length = min(STRETCH, len(kl.values))
    means = [fmean(kl.values[i : i + length]) for i in range(len(kl.values) - length + 1)]
    lowest = min(means)
    if not lowest < NEGATIVE_KL:
        return None
    start = means.index(lowest)
    return Finding(
        "fault",
        "The KL is negative",
        f"k1 is {lowest:.2f} nats an answer on average in rollouts {kl.rollouts[start]} to "
        f"{kl.rollouts[start + length - 1]}. A real KL is never below 0.",
        "The answers were not drawn from the distribution whose log-probabilities are used: sampling was truncated "
        "(top-k, top-p), or had another temperature, or answers were edited afterwards.",
        "Draw rollouts from the full distribution, with the temperature that the loss uses.",
    )


def ratio_off_one(history: History) -> Finding | None:
    """The first step on a rollout is made with the weights that wrote it, so nothing may differ there."""
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
        "The ratio is not 1 on first passes",
        f"In {len(off)} of {len(ratio.values)} rollouts, from rollout {off[0]} on: ratio up to "
        f"{max(ratio.values, key=lambda each: abs(each - 1)):.4f}, approx_kl up to {max(kl.values):.2g} nats a token.",
        "The sampler and the trainer disagree on the same weights: dropout in training, another temperature, another "
        "precision, or weights that the sampler took too early.",
        "Train without dropout and at the sampling temperature; try --precision float32. If it stays, it is a bug.",
    )


def high_kl(history: History) -> Finding | None:
    """Far from the reference, where its language and the reward model's judgement end."""
    kl, length = history.over_rollouts("kl"), history.over_rollouts("length")
    if not (kl and length) or not kl.late > HIGH_KL * length.late:
        return None
    bound = HIGH_KL * length.late
    return Finding(
        "warning",
        "The policy is far from its reference",
        f"The KL is {kl.late:.1f} nats an answer at the end, {kl.late / length.late:.2f} a token; it passed "
        f"{bound:.1f} in rollout {kl.first_where(lambda value: value > bound)}.",
        "Steps are too large, or the KL costs too little. So far from where it learned, a reward model guesses.",
        f"Raise --kl-coef (it is {history.setting('kl_coef', 0):g}), or {LOWER_RATES}.",
    )


def entropy_collapse(history: History) -> Finding | None:
    """A policy that always says the same has nothing to choose the better of."""
    entropy = trend(history, "entropy")
    if entropy is None or not entropy.late < LOW_ENTROPY * entropy.early:
        return None
    bound = LOW_ENTROPY * entropy.early
    return Finding(
        "warning",
        "The entropy has collapsed",
        f"From {entropy.early:.2f} to {entropy.late:.2f} nats a token; below {bound:.2f} from rollout "
        f"{entropy.first_where(lambda value: value < bound)} on.",
        "The policy is certain of nearly every token. It explores no more, and what it has not found it will not find. "
        "Where there is one right answer and the policy gives it, this is as it should be.",
        f"Raise --kl-coef, {LOWER_RATES}, or stop earlier with --rollouts.",
    )


def longer_answers(history: History) -> Finding | None:
    """The commonest hole in a reward: more is better."""
    length = trend(history, "length")
    if length is None or not length.late > LONGER * length.early:
        return None
    return Finding(
        "warning",
        "Answers grow longer",
        f"From {length.early:.0f} to {length.late:.0f} tokens; longest in rollout "
        f"{length.rollouts[length.values.index(max(length.values))]}. At most there are "
        f"{history.setting('max_new_tokens', math.nan):.0f}.",
        "The reward likes length, as people do who compare answers, and reward models that learned from them.",
        "Read the samples. If longer is not better: raise --missing-stop-penalty or --kl-coef, add a reward that "
        "counts length against an answer, or balance the preferences by length.",
    )


def shorter_answers(history: History) -> Finding | None:
    """Saying little offends least."""
    length = trend(history, "length")
    if length is None or not length.late < SHORTER * length.early:
        return None
    return Finding(
        "warning",
        "Answers shrink",
        f"From {length.early:.0f} to {length.late:.0f} tokens; shortest in rollout "
        f"{length.rollouts[length.values.index(min(length.values))]}.",
        "Stopping at once is safe: nothing wrong is said, no token costs KL, and there is no penalty for a missing stop.",
        "Read the samples. If they say too little: lower --missing-stop-penalty, or reward what is missing.",
    )


def fewer_stops(history: History) -> Finding | None:
    """Answers that are cut by the limit."""
    share = trend(history, "stop_share")
    if share is None or not share.late < share.early - FEWER_STOPS:
        return None
    bound = share.early - FEWER_STOPS
    return Finding(
        "warning",
        "Fewer answers stop by themselves",
        f"From {share.early:.0%} to {share.late:.0%}; below {bound:.0%} from rollout "
        f"{share.first_where(lambda value: value < bound)} on.",
        "Going on until the limit pays: the reward grows with length, or cannot see that an answer is unfinished.",
        f"Raise --missing-stop-penalty (it is {history.setting('missing_stop_penalty', math.nan):g}), or allow more "
        "with --max-new-tokens.",
    )


def flat_reward(history: History) -> Finding | None:
    """No more reward at the end than at the start."""
    reward, spread = trend(history, "reward", fewest=REWARD_ROLLOUTS), trend(history, "reward_std")
    if reward is None or spread is None:
        return None
    gain, typical = reward.late - reward.early, fmean(spread.values)
    if not FALLEN * typical <= gain <= FLAT * typical:
        return None
    equal, kl = history.over_rollouts("equal_groups"), history.over_rollouts("kl")
    causes = (
        (
            spread.late < WEAK_SIGNAL,
            f"Its standard deviation is {spread.late:.3f}: nearly all answers get the same, so nothing says which are "
            "better.",
            "If all are good, the run is done. If all are bad, take easier prompts, or a reward with steps in between.",
        ),
        (
            bool(equal) and equal.late > EQUAL_GROUPS,
            f"In {equal.late if equal else 0:.0%} of the groups all answers get the same, and those teach nothing.",
            "Take prompts that are answered well now and then, or a larger --group-size.",
        ),
        (
            bool(kl) and kl.late < TINY_KL,
            f"The policy has hardly moved: its KL is {kl.late if kl else 0:.2f} nats an answer.",
            "Raise the learning rates, lower --kl-coef, or give it more --rollouts.",
        ),
        (
            True,
            "The policy moves, but not towards reward: the signal is lost in noise.",
            "Take a larger --rollout-size; for PPO, see whether the explained variance is above 0.",
        ),
    )
    meaning, advice = next((meaning, advice) for is_so, meaning, advice in causes if is_so)
    happened = (
        f"{reward.early:.3f} at the start, {reward.late:.3f} at the end; answers vary by {typical:.3f}."
    )
    return Finding("warning", "The reward is flat", happened, meaning, advice)


def fallen_reward(history: History) -> Finding | None:
    """Less reward at the end than at the start."""
    reward, spread = trend(history, "reward", fewest=REWARD_ROLLOUTS), trend(history, "reward_std")
    if reward is None or spread is None or not reward.late - reward.early < FALLEN * fmean(spread.values):
        return None
    best = max(reward.values)
    return Finding(
        "warning",
        "The reward falls",
        f"From {reward.early:.3f} to {reward.late:.3f}; highest in rollout "
        f"{reward.rollouts[reward.values.index(best)]} ({best:.3f}).",
        "Steps so large that they break the language, or a KL that costs more than the reward can give.",
        f"For the first, {LOWER_RATES}, or use fewer passes over a rollout; for the second, lower --kl-coef.",
    )


def blind_critic(history: History) -> Finding | None:
    """PPO's critic foresees less than a constant would."""
    explained = trend(history, "explained_variance")
    if explained is None or not explained.late < BLIND:
        return None
    return Finding(
        "warning",
        "The critic explains nothing",
        f"Explained variance is {explained.late:.2f} at the end; a constant would have 0.",
        "Advantages are noisier than without a critic. It follows the policy too slowly, or it began as a reward model, "
        "which has seen whole answers only and guesses in the middle of one.",
        "Raise --value-clip-range or --passes, or use grpo, which has no critic. (--vf-coef changes little: the critic "
        "has an optimizer of its own, and Adam's steps do not grow with a loss.)",
    )


def much_clipping(history: History) -> Finding | None:
    """Steps that leave the range in which a rollout can be trusted."""
    clipped = trend(history, "clip_fraction", last)
    if clipped is None or not fmean(clipped.values) > HIGH_CLIP_FRACTION:
        return None
    worst = max(clipped.values)
    return Finding(
        "warning",
        "Too much is clipped",
        f"{fmean(clipped.values):.0%} of the tokens in the last step on a rollout, most in rollout "
        f"{clipped.rollouts[clipped.values.index(worst)]} ({worst:.0%}).",
        "Each rollout moves the policy further than it can be trusted for, and tokens beyond the range teach nothing.",
        f"Learn fewer times from a rollout (--passes), or {LOWER_RATES}.",
    )


def over_optimisation(history: History) -> Finding | None:
    """The reward goes on rising while what it stands for falls (Gao et al., 2022)."""
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
        "The reward is over-optimised",
        f"The gold reward was highest at rollout {peak['rollout']:.0f} (KL {peak['val_kl']:.1f} nats): "
        f"{peak['val_gold']:.3f}, and {gold:.3f} at the end, while the reward rose from {peak['val_reward']:.3f} to "
        f"{reward:.3f}.",
        "The reward only stands for what is wanted. Pushed on, the policy finds answers that it likes and nobody "
        "wants: Goodhart's law (Gao et al., 2022).",
        f"Stop at --rollouts {max(1, round(peak['rollout']))}, raise --kl-coef, or train the reward model on more "
        "preferences, answers of this policy among them.",
    )


def mode_collapse(history: History) -> Finding | None:
    """The same words to whatever is asked."""
    distinct = history.held_out("distinct_2")
    if len(distinct.values) < 2 or not fmean(distinct.values[-2:]) < LESS_DISTINCT * distinct.values[0]:
        return None
    bound = LESS_DISTINCT * distinct.values[0]
    return Finding(
        "warning",
        "Answers are all alike",
        f"distinct-2 fell from {distinct.values[0]:.2f} to {distinct.values[-1]:.2f}, below {bound:.2f} at rollout "
        f"{distinct.first_where(lambda value: value < bound)}.",
        "Mode collapse: one phrase that always pays is said to everyone. (Longer answers lower it a little, too.)",
        "Raise --kl-coef, stop earlier, or reward what depends on the prompt.",
    )


def exploding_gradient(history: History) -> Finding | None:
    """A step whose gradient is far longer than the others'."""
    norms = trend(history, "gradient_norm", max)
    if norms is None or not max(norms.values) > EXPLODED * median(norms.values):
        return None
    worst = max(norms.values)
    return Finding(
        "note",
        "A gradient exploded",
        f"{worst:.3g} in rollout {norms.rollouts[norms.values.index(worst)]}, where {median(norms.values):.3g} is usual.",
        "A few tokens with huge ratios, or rewards far from all others. It was shortened to --max-norm; still, look "
        "whether reward or KL jump at that place.",
        "If they do: whiten the rewards (--whiten-rewards), bound them, or lower --max-norm.",
    )


def trend(history: History, name: str, take: Take = fmean, fewest: int = TREND_ROLLOUTS) -> Series | None:
    """A series that is long enough to tell where it is going."""
    series = history.over_rollouts(name, take)
    return series if len(series.values) >= fewest else None


CHECKS: Sequence[Callable[[History], Finding | None]] = (
    negative_kl,
    ratio_off_one,
    over_optimisation,
    flat_reward,
    fallen_reward,
    high_kl,
    entropy_collapse,
    mode_collapse,
    longer_answers,
    shorter_answers,
    fewer_stops,
    much_clipping,
    blind_critic,
    exploding_gradient,
)
