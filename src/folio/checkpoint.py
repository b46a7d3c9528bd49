"""Saving so that nothing already saved can be lost, and loading only what is whole.

A checkpoint is a directory. It is written under a temporary name, synced to the disk, sealed with checksums,
and renamed: at any moment, a power cut included, a directory with its final name is complete or detectably
damaged. What is not weights (optimizer, data position, random state) is one safetensors file: tensors as
tensors, everything else as JSON in its header. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from folio.errors import UserError

CHECKSUMS = "checksums.json"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write nested dicts, lists, numbers, strings and tensors to one safetensors file."""
    tensors: dict[str, Tensor] = {}
    skeleton = _take_tensors(state, tensors)
    save_file(tensors, path, metadata={"state": json.dumps(skeleton)})


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, bit for bit, onto the CPU. Raises UserError if it is not such a file."""
    try:
        with safe_open(path, framework="pt") as file:
            skeleton = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}).") from None
    state: dict[str, Any] = _give_tensors(skeleton, tensors)
    return state


def _take_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON, with its tensors moved to `tensors` and dictionaries as pairs (keys may be numbers)."""
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
    """The inverse of `_take_tensors`."""
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
    """The state of torch's random generators (CPU, and CUDA or MPS where in use)."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: dict[str, Tensor]) -> None:
    """Put back what `random_state` returned; a generator that this machine lacks is passed over."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


def write_directory(final: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new directory, then put it in the place of `final`.

    Raises UserError when the disk is full or cannot be written; `final` is then as it was before.
    """
    temporary, previous = _beside(final, "writing"), _beside(final, "previous")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write(temporary)
        _seal(temporary)
        if final.exists():
            shutil.rmtree(previous, ignore_errors=True)
            final.rename(previous)
        temporary.rename(final)
        _sync(final.parent)
    except (OSError, SafetensorError, UserError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        restore_directory(final)
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"Could not save {final}: {reason}. What was saved before is untouched; make room and go on with --resume."
        ) from error
    shutil.rmtree(previous, ignore_errors=True)


def restore_directory(final: Path) -> None:
    """Finish what a `write_directory` that was killed between its two renames had begun."""
    previous = _beside(final, "previous")
    if previous.exists() and not final.exists():
        previous.rename(final)


def surviving(final: Path) -> Path:
    """`final`, or while `write_directory` is between its two renames what was there before. For readers, who must
    not come in the way of the owner as `restore_directory` would."""
    previous = _beside(final, "previous")
    return previous if previous.exists() and not final.exists() else final


def damage(directory: Path) -> str | None:
    """What is wrong with a directory that `write_directory` made, in words, or None if it is whole."""
    try:
        checksums = json.loads((directory / CHECKSUMS).read_text())
        for name, expected in checksums.items():
            if _sha256(directory / name) != expected:
                return f"{name} has changed since it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return f"unreadable: {error}"
    return None


def saved_steps(checkpoints: Path) -> list[Path]:
    """The directories `step-N` below `checkpoints`, newest first."""
    found = [path for path in checkpoints.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)


def newest_whole(checkpoints: Path) -> tuple[Path | None, list[str]]:
    """The newest undamaged `step-N` below `checkpoints`, and a line on each newer one that is damaged."""
    problems: list[str] = []
    for path in saved_steps(checkpoints):
        problem = damage(path)
        if problem is None:
            return path, problems
        problems.append(f"{path} is damaged ({problem}); looking for the one before.")
    return None, problems


def _beside(final: Path, suffix: str) -> Path:
    """A hidden neighbour's name: no one looking for checkpoints takes it for one."""
    return final.with_name(f".{final.name}.{suffix}")


def _seal(directory: Path) -> None:
    """Write checksums and force everything to the disk, so that the rename cannot overtake the data."""
    files = sorted(path for path in directory.iterdir() if path.is_file())
    checksums = {path.name: _sha256(path) for path in files}
    (directory / CHECKSUMS).write_text(json.dumps(checksums, indent=2) + "\n")
    for path in (*files, directory / CHECKSUMS, directory):
        _sync(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
