"""The metrics and the next commands to show for a run of each stage.

The stages themselves import torch, which takes seconds; this table does not.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from folio.config import flatten
from folio.runs.directory import RunDirectory

CHAT = "folio chat {run}"


@dataclass(frozen=True)
class StageSummary:
    """What to show of a stage's runs.

    metrics: those that say how a run went, by their names in metrics.jsonl, in words. next: commands that may follow,
    the usual one first; {run} is the run, {model} the model it started from, {recipe} the recipe for its data. details: more metrics, for its own report.
    """

    metrics: Mapping[str, str]
    next: Sequence[str]
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def makes_assistant(self) -> bool:
        """Whether one can talk with the models."""
        return CHAT in self.next


LISTENING = {"val_prompt_wins": "right prompt wins", "val_met": "requests met"}
PREFERENCES = {"val_accuracy": "accuracy on held-out pairs"}
POLICY = StageSummary(
    metrics={
        "val_reward": "reward",
        "val_gold": "gold reward",
        "val_kl": "KL per answer",
        "val_met": "requests met",
    },
    next=(CHAT, "folio rl-report {run}"),
    details={
        "val_length": "tokens per answer",
        "val_stop_share": "answers that stop",
        "val_distinct_2": "distinct-2",
    },
)
STAGES = {
    "pretrain": StageSummary(
        metrics={"val_loss": "validation loss", "val_bpb": "bits per byte"},
        next=(
            "folio sft {recipe} {run}",
            'folio sample {run} --prompt "..." --num 3',
            "folio pretrain --data your-text.txt",
        ),
    ),
    "sft": StageSummary(metrics={"val_loss": "loss of held-out answers"} | LISTENING, next=(CHAT,)),
    "reward": StageSummary(metrics=PREFERENCES, next=("folio ppo {model} --reward {run}",)),
    "dpo": StageSummary(metrics=PREFERENCES, next=(CHAT,)),
    "ppo": POLICY,
    "grpo": POLICY,
}


def kept_record(records: Iterable[dict[str, Any]], metrics: Iterable[str]) -> dict[str, Any] | None:
    """Return the record of the model that a run keeps, or None if no record has one of these metrics.

    Where there is a validation loss, the model with the lowest is kept; else the newest. Records that lack metrics which
    others have are damaged, and count only where there are no others.
    """
    names = set(metrics)
    evaluated = [record for record in records if names & record.keys()]
    most = max((len(names & record.keys()) for record in evaluated), default=0)
    evaluated = [record for record in evaluated if len(names & record.keys()) == most]
    with_loss = [record for record in evaluated if "val_loss" in record]
    if with_loss:
        return min(with_loss, key=lambda record: float(record["val_loss"]))
    return evaluated[-1] if evaluated else None


def next_commands(run: RunDirectory) -> list[str]:
    """Return the commands that may follow a finished run, the usual one first."""
    info = run.read_info()
    summary = STAGES.get(info["stage"])
    if summary is None:
        return []
    settings = flatten(info["config"])
    path, model = (shlex.quote(str(each)) for each in (run.path, settings.get("model", "MODEL")))
    recipe = "arithmetic" if settings.get("data") == "arithmetic" else "text"
    return [command.format(run=path, model=model, recipe=recipe) for command in summary.next]
