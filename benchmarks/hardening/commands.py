"""A folder with a model of each kind, tiny data, and the command of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from killing import without_times
from processes import Outcome, run
from tiny import TINY, make_text
from tiny_rl import PAIRS, POLICY, QUICK, make_function, make_pairs, make_prompts, make_talk

from folio.files import read_lines
from folio.runs.directory import RunDirectory

SIZES = (*QUICK, "--micro-batch-size", "2", "--sample-tokens", "4")
STAGES: Mapping[str, tuple[str, ...]] = {
    "pretrain": ("--data", "words.txt", *TINY, "--dropout", "0.1"),
    "sft": ("base", "--data", "talk.jsonl", *SIZES, "--epochs", "1"),
    "reward": ("base", "--data", "pairs.jsonl", *PAIRS),
    "dpo": ("base", "--data", "pairs.jsonl", *PAIRS, "--prompt", "cat"),
    "ppo": ("base", "--data", "prompts.jsonl", "--reward", "share.py:f", *POLICY, "--epochs", "2"),
    "grpo": ("base", "--data", "prompts.jsonl", "--reward", "share.py:f", *POLICY, "--group-size", "4"),
}
"""Stages, and what each is given."""


@dataclass(frozen=True)
class Workshop:
    """A folder in which the commands are run. `base` is a model, `NAME-whole` the finished run of a stage."""

    folder: Path

    def build(self) -> None:
        """Write the data, and train what the stages start from."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "words.txt").write_text(make_text(), encoding="utf-8")
        make_talk(self.folder / "talk.jsonl")
        make_pairs(self.folder / "pairs.jsonl", n=20)
        make_prompts(self.folder / "prompts.jsonl")
        make_function(self.folder / "share.py")
        self.stage("pretrain", "base")

    def command(self, stage: str, name: str, *flags: str) -> tuple[str, ...]:
        """Return the arguments of a stage that trains into the run of a name."""
        return (stage, *STAGES[stage], "--run", name, *flags)

    def stage(self, stage: str, name: str) -> Outcome:
        """Train, where the run of that name is not finished. Raises RuntimeError where that fails."""
        outcome = run(self.command(stage, name, "--resume"), self.folder)
        if outcome.code:
            raise RuntimeError(f"{stage} ends with {outcome.code}: {outcome.output}")
        return outcome

    def trace(self, name: str) -> dict[str, Any]:
        """Return all that the run of a name leaves behind and that must not depend on interruptions."""
        directory = RunDirectory(self.folder / name)
        return {
            "metrics": [without_times(record) for record in read_lines(directory.metrics_file)],
            "best": (directory.best / "model.safetensors").read_bytes(),
            "status": directory.read_info()["status"],
        }
