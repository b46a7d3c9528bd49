"""The learner's runs, as the quiz reads them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open

from folio.config import flatten
from folio.errors import UserError, parsing
from folio.files import read_directory, read_json
from folio.lecture.quiz import Stage
from folio.runs.directory import RunDirectory, is_number

COMMANDS: Mapping[Stage, Sequence[str]] = {
    "pretrain": ("pretrain",),
    "sft": ("sft",),
    "label": ("label",),
    "policy": ("grpo", "ppo"),
}
"""The commands that make the runs of a stage."""
MADE_BY: Mapping[Stage, str] = {
    "pretrain": "`folio pretrain shakespeare` makes one.",
    "sft": "`folio run shakespeare` makes one, or `folio sft text RUN`.",
    "label": "`folio run shakespeare` makes one, or `folio label`.",
    "policy": "`folio run shakespeare` makes one, or `folio grpo` and `folio ppo`.",
}
LABELS = "label.json"
"""What `folio label` says about its data, which are no run."""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    stage: what it was made by. model: its sizes, from run.json. settings: its settings by name. steps: planned steps.
    records: the lines of metrics.jsonl. parameters: the number of parameters of each tensor of its best model.
    before: what was measured before the first step. data_sha256: digest of what it was trained on.
    """

    path: Path
    stage: Stage
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    steps: int
    records: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, int]
    before: Mapping[str, Any] = field(default_factory=dict)
    data_sha256: str = ""

    @property
    def evaluations(self) -> Sequence[Mapping[str, Any]]:
        """The records with a validation loss. Raises UserError if there are none."""
        found = [record for record in self.records if "val_loss" in record and "val_bpb" in record]
        if not found:
            raise UserError(f"{self.path} has no validation loss: choose another run.")
        return found

    @property
    def best(self) -> Mapping[str, Any]:
        """The record with the lowest validation loss."""
        return min(self.evaluations, key=lambda record: float(record["val_loss"]))

    @property
    def n_parameters(self) -> int:
        """The number of all parameters."""
        return sum(self.parameters.values())

    def last(self, name: str) -> float:
        """Return a figure as it was last recorded. Raises UserError if it never was."""
        found = [record for record in self.records if name in record]
        return self._number(found[-1] if found else {}, name, "metrics.jsonl")

    def at_start(self, name: str) -> float:
        """Return a figure that was measured before the first step. Raises UserError if it was not."""
        return self._number(self.before, name)

    def size(self, name: str) -> int:
        """Return a size of the model. Raises UserError if run.json lacks it."""
        return int(self.model_number(name))

    def model_number(self, name: str) -> float:
        """Return a number of the model's configuration. Raises UserError if run.json lacks it."""
        return self._number(self.model, name)

    def setting(self, name: str) -> float:
        """Return a setting. Raises UserError if run.json lacks it."""
        return self._number(self.settings, name)

    def parameters_in(self, parts: Sequence[str]) -> int:
        """Return the number of parameters in tensors whose names contain one of these parts."""
        return sum(n for name, n in self.parameters.items() if any(part in name for part in parts))

    def _number(self, table: Mapping[str, Any], name: str, file: str = "run.json") -> float:
        value = table.get(name)
        if not is_number(value):
            raise UserError(f"{self.path / file} has no {name}: choose another run.")
        return float(value)  # type: ignore[arg-type]  # is_number has checked it


def find_stage(given: Path, stage: Stage) -> FinishedRun:
    """Return the run of a stage: `given` itself, or what `folio run` makes beside it, as runs/my-sft beside runs/my.

    Raises UserError if there is none, it is not finished, or damaged.
    """
    command = command_of(given)
    if command in COMMANDS[stage]:
        return read_finished_run(given)
    base = given.name.removesuffix(f"-{command}")
    names = [base] if stage == "pretrain" else [f"{base}-{each}" for each in COMMANDS[stage]]
    beside = [given.with_name(name) for name in names]
    found = [path for path in beside if command_of(path) in COMMANDS[stage]]
    if not found:
        raise UserError(f"{beside[0]}: no such run. {MADE_BY[stage]}")
    return read_finished_run(found[0])


def command_of(path: Path) -> str | None:
    """Return the command that made what is at a path, or None if there is no run. Raises UserError for a damaged one."""
    if RunDirectory(path).exists:
        return str(RunDirectory(path).read_info()["stage"])
    return "label" if (path / LABELS).exists() else None


def read_finished_run(path: Path) -> FinishedRun:
    """Read a run. Raises UserError if there is none, it is of a stage without questions, not finished, or damaged."""
    command = command_of(path)
    if command is None:
        raise UserError(f"{path}: no such run. {MADE_BY['pretrain']}")
    stages: list[Stage] = [stage for stage, commands in COMMANDS.items() if command in commands]
    if not stages:
        raise UserError(
            f"{path} is a run of folio {command}: the quiz asks about runs of "
            f"{', '.join(each for commands in COMMANDS.values() for each in commands)}."
        )
    if command == "label":
        settings = read_json(path / LABELS, "Choose another run.")
        return FinishedRun(path, "label", {}, settings, 0, [], {})
    return _read_run(RunDirectory(path), stages[0])


def _read_run(run: RunDirectory, stage: Stage) -> FinishedRun:
    info = run.read_info()
    if info["status"] != "finished":
        raise UserError(
            f"{run.path} is not finished: `folio {info['stage']} --run {shlex.quote(str(run.path))} --resume` "
            "goes on with it."
        )
    records = run.read_metrics()
    plan = info["plan"]
    if not records or not isinstance(plan.get("model"), dict) or not isinstance(plan.get("steps"), int):
        raise UserError(f"{run.path} is damaged: it lacks metrics, or its plan. Choose another run.")
    before = info.get("before")
    return FinishedRun(
        run.path,
        stage,
        plan["model"],
        flatten(info["config"]),
        plan["steps"],
        records,
        read_directory(run.best, count_parameters),
        before if isinstance(before, dict) else {},
        info["data_sha256"],
    )


def count_parameters(directory: Path) -> dict[str, int]:
    """Return the number of parameters of each tensor in a model directory, without reading the tensors."""
    file = directory / "model.safetensors"
    with parsing(file, "Choose another run."), safe_open(file, framework="numpy") as tensors:
        return {name: math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
