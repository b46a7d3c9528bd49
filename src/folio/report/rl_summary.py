"""A PPO or GRPO run in words: its metrics at the start and the end, and its samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from folio.log import format_number
from folio.report.rl_history import History, first
from folio.runs.stages import STAGES

FORMATS = {
    "reward": ".3f",
    "gold": ".3f",
    "kl": ".2f",
    "entropy": ".2f",
    "length": ".0f",
    "stop_share": ".0%",
    "distinct_2": ".2f",
    "prompt_wins": ".0%",
    "met": ".0%",
}
"""The number format of each metric to show."""


def metrics_table(history: History) -> dict[str, str]:
    """Return each metric at the start and end of a run as text.

    In training these are the means of the first and last fifth; held out, the first and last evaluation.
    """
    summary = STAGES[history.stage]
    words = {**summary.metrics, **summary.details}
    lines = {}
    for name, spec in FORMATS.items():
        training, held_out = history.over_rollouts(name), history.held_out(name)
        parts = [f"{training.early:{spec}} to {training.late:{spec}}"] if training else []
        parts += [f"held out {held_out.values[0]:{spec}} to {held_out.values[-1]:{spec}}"] if held_out else []
        if parts:
            lines[words.get(f"val_{name}", name)] = ", ".join(parts)
    return lines


def main_metrics(history: History) -> str:
    """Return a sentence for a run without findings: its main metrics."""
    reward, kl, length = (history.over_rollouts(name) for name in ("reward", "kl", "length"))
    entropy, ratio = history.over_rollouts("entropy"), history.over_rollouts("ratio", first)
    gold = history.held_out("gold")
    facts = [f"Reward from {reward.early:.3f} to {reward.late:.3f}"] if reward else []
    if gold:
        facts.append(f"gold reward from {gold.values[0]:.3f} to {gold.values[-1]:.3f}")
    if entropy:
        facts.append(f"entropy from {entropy.early:.2f} to {entropy.late:.2f} nats per token")
    if kl and length:
        facts.append(
            f"KL {format_number(kl.late, 1)} nats per answer, {format_number(kl.late / length.late, 2)} per token"
        )
    if ratio:
        deviation = max(abs(value - 1) for value in ratio.values)
        facts.append(f"on first steps the ratio is within {deviation:.1g} of 1")
    return f"{'; '.join(facts)}."


def is_sample(record: Mapping[str, Any]) -> bool:
    """Return whether an object is a line of samples.jsonl."""
    return isinstance(record.get("step"), int) and all(
        isinstance(record.get(key), str) for key in ("prompt", "text")
    )


def answer_of(text: str) -> str:
    """Return a sample without its first line if that repeats the question."""
    question, line_end, answer = text.partition("\n")
    return answer.strip() if question.startswith("> ") and line_end else text.strip()
