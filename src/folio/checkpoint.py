"""Save and load training state, and find the newest valid checkpoint.

A checkpoint is a directory, written by `files.write_directory`: complete, or detectably damaged. Besides the weights it
holds one safetensors file with the optimizer, the data position and the random state: tensors as tensors, everything
else as JSON in its header. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from folio.errors import parsing
from folio.files import atomic_file, damage


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write nested dicts, lists, numbers, strings and tensors to one safetensors file, in one step."""
    tensors: dict[str, Tensor] = {}
    skeleton = _take_tensors(state, tensors)
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, metadata={"state": json.dumps(skeleton)})


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, bit for bit, onto the CPU. Raises UserError if it is not such a file."""
    with parsing(path, "It holds no training state, or is damaged."), safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        state: dict[str, Any] = _give_tensors(json.loads(file.metadata()["state"]), tensors)
    return state


def _take_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return `value` as JSON with its tensors moved to `tensors`, and dicts as pairs, since keys may be numbers."""
    match value:
        case Tensor():
            tensors[str(len(tensors))] = value.detach().contiguous()
            return {"tensor": str(len(tensors) - 1)}
        case dict():
            return {"dict": [[key, _take_tensors(item, tensors)] for key, item in value.items()]}
        case list() | tuple():
            return [_take_tensors(item, tensors) for item in value]
        case _:
            return value


def _give_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Invert `_take_tensors`."""
    match value:
        case {"tensor": name}:
            return tensors[name]
        case {"dict": pairs}:
            return {key: _give_tensors(item, tensors) for key, item in pairs}
        case list():
            return [_give_tensors(item, tensors) for item in value]
        case _:
            return value


def random_state() -> dict[str, Tensor]:
    """Return the states of torch's random generators on all available devices."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: dict[str, Tensor]) -> None:
    """Restore the states that `random_state` returned, except for devices that this machine lacks."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


def saved_steps(checkpoints: Path) -> list[Path]:
    """Return the directories `step-N` in `checkpoints`, newest first."""
    found = [path for path in checkpoints.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)


def newest_valid(checkpoints: Path, needed: Collection[str] = ()) -> tuple[Path | None, list[str]]:
    """Return the newest undamaged `step-N` in `checkpoints`, and a message for each newer, damaged one.

    needed: names of files that a checkpoint's checksums must cover.
    """
    problems: list[str] = []
    for path in saved_steps(checkpoints):
        problem = damage(path, needed)
        if problem is None:
            return path, problems
        problems.append(f"{path} is damaged ({problem}); trying the one before.")
    return None, problems
