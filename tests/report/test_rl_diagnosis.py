"""What is found in a run, and what is not."""

import math
from pathlib import Path

import pytest
from rl_runs import ROLLOUTS, history_of, wobble

from folio.report import rl_diagnosis as diagnosis
from folio.report.rl_diagnosis import CHECKS, diagnose

PAGE = Path(__file__).parent.parent.parent / "docs" / "rl-report.md"


def fixed(value):
    return lambda share, which: value


def line(start, end):
    return lambda share, which: start + (end - start) * share


def peak_at(place, top, start, end):
    """Up to the top, and down again."""
    return lambda share, which: (
        start + (top - start) * share / place
        if share <= place
        else top + (end - top) * (share - place) / (1 - place)
    )


def jump_at(rollout, value, otherwise):
    return lambda share, which: value if round(share * ROLLOUTS) == rollout else otherwise(share, which)


def on_pass(first, later):
    return lambda share, which: later if which else first


# Each failure: what the figures do, what it is called, what is said of it; and the same kept within bounds.
FAILURES = [
    (
        "ppo",
        {"kl": line(0, -1)},
        "The KL is negative",
        ["rollouts 36 to 40", "-0.95"],
        {"kl": line(0, -0.09)},
    ),
    (
        "ppo",
        {"ratio": on_pass(1.03, 1.0)},
        "The ratio is not 1 on first steps",
        ["40 of 40 rollouts, from rollout 1 on", "1.0300"],
        {"ratio": on_pass(1.005, 1.5)},
    ),
    (
        "grpo",
        {"approx_kl": on_pass(7e-3, 8e-3)},  # a temperature of 0.9 for 1: the mean ratio is still 1
        "The ratio is not 1 on first steps",
        ["approx_kl up to 0.007"],
        {"approx_kl": on_pass(8e-5, 0.5)},
    ),
    (
        "ppo",
        {"val_gold": peak_at(0.5, 0.8, 0.5, 0.6)},
        "The reward is overoptimized",
        ["highest at rollout 20 (KL 3.0 nats): 0.800", "0.620 at the end", "Stop at --rollouts 20"],
        {"val_gold": peak_at(0.5, 0.8, 0.5, 0.75)},
    ),
    (
        "ppo",
        {"reward": lambda share, _: 0.5 + 0.05 * wobble(share), "kl": fixed(0.02)},
        "The reward is flat",
        ["The policy has hardly moved: its KL is 0.02"],
        {"reward": line(0.5, 0.7), "kl": fixed(0.02)},
    ),
    (
        "grpo",
        {"reward": fixed(0.0), "reward_std": fixed(0.001)},
        "The reward is flat",
        ["deviation is 0.001", "easier prompts"],
        {"reward": line(0, 0.1), "reward_std": fixed(0.3)},
    ),
    (
        "grpo",
        {"reward": fixed(0.1), "reward_std": fixed(0.3), "equal_groups": fixed(0.95)},
        "The reward is flat",
        ["In 95% of the groups", "--group-size"],
        {"equal_groups": fixed(0.95)},
    ),
    ("ppo", {"reward": fixed(0.3)}, "The reward is flat", ["lost in noise"], {"reward": line(0.3, 0.6)}),
    (
        "ppo",
        {"reward": peak_at(0.25, 1.0, 0.5, -1.0)},
        "The reward falls",
        ["highest in rollout 10 (1.000)"],
        {"reward": peak_at(0.25, 1.0, 0.0, 0.9)},
    ),
    (
        "ppo",
        {"kl": line(0, 50)},
        "The policy is far from its reference",
        ["45.6 nats per answer at the end", "it passed 29.8 in rollout 24", "it is 0.05"],
        {"kl": line(0, 25)},
    ),
    (
        "ppo",
        {"entropy": line(1.3, 0.1)},
        "The entropy has collapsed",
        ["From 1.17 to 0.21", "below 0.47 from rollout 28 on"],
        {"entropy": line(1.3, 0.6)},
    ),
    (
        "ppo",
        {"val_distinct_2": line(0.9, 0.2)},
        "Answers are all alike",
        ["from 0.90 to 0.20, below 0.54 at rollout 24"],
        {"val_distinct_2": line(0.9, 0.6)},
    ),
    (
        "ppo",
        {"length": line(50, 110)},
        "Answers grow longer",
        ["From 57 to 105", "The limit is 120"],
        {"length": line(50, 80)},
    ),
    ("ppo", {"length": line(50, 15)}, "Answers shrink", ["shortest in rollout 40"], {"length": line(50, 30)}),
    (
        "ppo",
        {"stop_share": line(0.95, 0.5)},
        "Fewer answers stop by themselves",
        ["From 90% to 54%; below 75% from rollout 18 on"],
        {"stop_share": line(0.95, 0.85)},
    ),
    (
        "ppo",
        {"clip_fraction": on_pass(0.0, 0.4)},
        "Too much is clipped",
        ["40% of the tokens in the last step on a rollout"],
        {"clip_fraction": on_pass(0.0, 0.25)},
    ),
    (
        "ppo",
        {"explained_variance": line(0.2, -0.5)},
        "The critic explains nothing",
        ["-0.44 at the end"],
        {"explained_variance": line(-0.5, 0.02)},
    ),
    (
        "ppo",
        {"gradient_norm": jump_at(17, 40.0, fixed(0.5))},
        "A gradient exploded",
        ["40 in rollout 17, where 0.5 is usual"],
        {"gradient_norm": jump_at(17, 4.0, fixed(0.5))},
    ),
]
each_failure = pytest.mark.parametrize(
    ("stage", "figures", "title", "words", "within"),
    FAILURES,
    ids=lambda value: value if isinstance(value, str) else "",
)


@pytest.mark.parametrize("stage", ["ppo", "grpo"])
@pytest.mark.parametrize("rollouts", [1, 2, 4, 5, 9, 10, 40, 400])
def test_nothing_is_found_in_a_healthy_run(stage, rollouts):
    assert diagnose(history_of(stage, rollouts)) == []


@each_failure
def test_a_failure_is_found_and_nothing_else(stage, figures, title, words, within):
    (finding,) = diagnose(history_of(stage, **figures))
    assert finding.title == title
    told = f"{finding.observed} {finding.cause} {finding.advice}"
    assert [word for word in words if word not in told] == []


@each_failure
def test_what_stays_within_bounds_is_no_failure(stage, figures, title, words, within):
    assert diagnose(history_of(stage, **within)) == []


@each_failure
def test_too_few_rollouts_show_no_trend(stage, figures, title, words, within):
    told = [finding.title for finding in diagnose(history_of(stage, 4, **figures))]
    at_once = {
        "The KL is negative",
        "The ratio is not 1 on first steps",
        "The policy is far from its reference",
    }
    by_evaluations = {"The reward is overoptimized", "Answers are all alike"}
    assert set(told) <= at_once | by_evaluations


def test_every_check_has_a_failure_that_it_finds():
    found = {
        check
        for stage, figures, *_ in FAILURES
        for check in CHECKS
        if check(history_of(stage, **figures)) is not None
    }
    assert found == set(CHECKS)


def test_the_worst_comes_first():
    everything = {name: course for _, figures, *_ in FAILURES for name, course in figures.items()}
    severities = [finding.severity for finding in diagnose(history_of("ppo", **everything))]
    assert len(set(severities)) == 3
    assert severities == sorted(severities, key=("fault", "warning", "note").index)


@pytest.mark.parametrize("check", CHECKS)
def test_figures_that_are_missing_or_no_numbers_are_no_failure(check):
    whole = history_of()
    bare = [{"step": record["step"], "rollout": record["rollout"]} for record in whole.records]
    broken = [
        {**dict.fromkeys(record, math.nan), **few} for record, few in zip(whole.records, bare, strict=True)
    ]
    for records in (bare, broken):
        assert check(type(whole)("ppo", "running", records, {}, {})) is None


def test_gold_that_falls_with_the_reward_is_not_overoptimization():
    falling = {"val_gold": peak_at(0.5, 0.8, 0.5, 0.6), "val_reward": peak_at(0.5, 0.8, 0.5, 0.6)}
    assert diagnosis.overoptimization(history_of("ppo", **falling)) is None


def test_the_page_explains_every_finding_and_its_bound():
    page = PAGE.read_text(encoding="utf-8")
    assert [title for _, _, title, *_ in FAILURES if title not in page] == []
    bounds = {
        "NEGATIVE_KL": "below -0.1",
        "FIRST_PASS_KL": "0.001",
        "FIRST_PASS_RATIO": "0.01 from 1",
        "HIGH_KL": "0.5 nats per token",
        "LOW_ENTROPY": "0.4 of",
        "LONGER": "1.6 times",
        "SHORTER": "0.5 times",
        "FEWER_STOPS": "0.15",
        "FLAT_REWARD": "0.1 standard",
        "FALLEN_REWARD": "0.25 standard",
        "GOLD_ERRORS": "3 standard errors",
        "LOW_DISTINCT": "0.6 of",
        "HIGH_CLIP_FRACTION": "0.3 of",
        "LOW_EXPLAINED_VARIANCE": "below -0.05",
        "EXPLODED": "10 times",
    }
    for name, words in bounds.items():
        value = getattr(diagnosis, name)
        assert f"{abs(value):g}" in words
        assert words in page, name
