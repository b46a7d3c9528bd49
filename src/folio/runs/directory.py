"""The run directory: everything that one training run leaves behind."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from folio.errors import FolioWarning, UserError
from folio.files import read_json, read_lines, restore_directory, spans, write_file

INFO_TYPES = {"status": str, "stage": str, "config": dict, "runtime": dict, "plan": dict, "data_sha256": str}
"""Keys that run.json must have, and their types."""
FORMAT = 2
"""Version of what a run directory holds. Finished runs of older formats can be read, unfinished ones not resumed."""
CHECKSUM = "sha256"
"""Key of run.json: a checksum of all others, since a resumed run follows what they say."""
STEP_TYPES: Mapping[str, Any] = {
    "step": int,
    "tokens": int,
    "train_seconds": (int, float),
    "loss": (int, float),
}
"""Keys that every record of metrics.jsonl has, and their types."""
BEFORE_A_RUN = {".lock", ".run.json.writing"}
"""Files that a run may leave when it is killed before it begins."""


class RunDirectory:
    """`runs/<name>/`, owned by one process at a time.

    run.json            resolved config, plan, versions, hardware, status
    metrics.jsonl       one object per step
    samples.jsonl       texts generated during training
    checkpoints/step-N  checkpoints to resume from, each a model directory as well
    history/step-N      the models of earlier checkpoints, to look back at
    best/               the model with the lowest validation loss
    loss.png, rl.png    curves; rl.png for PPO and GRPO
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info_file = path / "run.json"
        self.metrics_file = path / "metrics.jsonl"
        self.samples_file = path / "samples.jsonl"
        self.checkpoints = path / "checkpoints"
        self.history = path / "history"
        self.best = path / "best"
        self.plot = path / "loss.png"
        self.rl_plot = path / "rl.png"

    def checkpoint(self, step: int) -> Path:
        """Return the directory of a step's checkpoint."""
        return self.checkpoints / f"step-{step}"

    def models(self) -> dict[int, Path]:
        """Return the directories of the models along the way, by step, the first one first. They may vanish meanwhile."""
        found = {
            int(path.name.removeprefix("step-")): path
            for folder in (self.history, self.checkpoints)  # one in both is about to leave the latter
            for path in folder.glob("step-*")
            if path.name.removeprefix("step-").isdigit()
        }
        return dict(sorted(found.items()))

    @property
    def exists(self) -> bool:
        """Whether the directory holds a run."""
        return os.path.exists(self.info_file)  # unlike Path.exists, it raises for no path

    @property
    def is_in_use(self) -> bool:
        """Whether a process owns the run."""
        file = self.path / ".lock"
        if not file.exists():
            return False
        try:
            with FileLock(file).acquire(timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # no right to lock it
            return False

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Create the directory and lock out other owners while the block runs; readers need no lock.

        The operating system releases the lock however the process ends, `kill -9` included. The directory is
        removed again if the block begins no run.

        Raises UserError if the run has an owner already, if the directory holds other files, or if it cannot be
        written.
        """
        try:
            if self.path.is_dir() and not self.exists:
                leftovers = {path.name for path in self.path.iterdir()} - BEFORE_A_RUN
                if leftovers:
                    raise UserError(
                        f"{self.path} holds other files ({min(leftovers)}) and no run; choose another directory."
                    )
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(
                self.path / ".lock"
            )  # one for each call: it refuses this process's own second owner
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{self.path} is in use by another process; wait for it or choose another directory."
            ) from None
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror or error}).") from None
        try:
            restore_directory(self.best)
            yield
        finally:
            if not self.exists:
                self._remove_leftovers()
            lock.release()
            if not self.exists:
                with suppress(OSError):  # it holds other files, or a new owner's lock
                    self.path.rmdir()

    def _remove_leftovers(self) -> None:
        """Remove only what `owned` made: run.json may be out of sight for a moment, as on a shared disk."""
        for name in BEFORE_A_RUN:
            with suppress(PermissionError):  # Windows keeps a locked file; the lock removes it on release
                (self.path / name).unlink(missing_ok=True)

    def read_info(self) -> dict[str, Any]:
        """Return the contents of run.json. Raises UserError if it is damaged."""
        info = read_json(self.info_file, "It is damaged: choose another directory.")
        checksum = info.pop(CHECKSUM, None)
        if checksum not in (None, _checksum(info)):
            raise UserError(
                f"{self.info_file} has changed since it was written: it is damaged. Choose another directory, or remove "
                f"its {CHECKSUM} if you changed it yourself."
            )
        if "format" not in info:
            info = {"format": 1, "data_sha256": info.get("text_sha256"), **info}
        for key, kind in INFO_TYPES.items():
            if not isinstance(info.get(key), kind):
                raise UserError(f"{self.info_file} is damaged (no {key}); choose another directory.")
        return info

    @staticmethod
    def is_old(info: Mapping[str, Any]) -> bool:
        """Return whether a run.json was written by a folio whose runs this one cannot resume."""
        return bool(info["format"] < FORMAT)

    def write_info(self, info: dict[str, Any]) -> None:
        """Replace run.json in one step. Raises UserError if the disk is full or cannot be written."""
        info = info | {CHECKSUM: _checksum(info)}
        write_file(self.info_file, (json.dumps(info, indent=2) + "\n").encode())

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the records of metrics.jsonl: numbers by name, of which each record has those in STEP_TYPES.

        Warns with FolioWarning of lines that are damaged, which are left out, and of steps that are missing.
        """
        records = read_lines(self.metrics_file, is_step)
        steps = sorted({record["step"] for record in records})
        gaps = [range(a + 1, b) for a, b in zip((0, *steps), steps, strict=False) if b - a > 1]
        if gaps:
            warnings.warn(
                f"{self.metrics_file} lacks {spans(gaps, 'step')}.",
                FolioWarning,
                stacklevel=1,  # one place for all callers: it is shown once
            )
        return records

    def set_status(self, status: str, **facts: Any) -> None:
        """Record the status (running, interrupted, failed or finished) and other facts in run.json."""
        self.write_info({**self.read_info(), "status": status, **facts})


def run_around(model: Path) -> Path | None:
    """Return the run that a model directory, best/, checkpoints/step-N or history/step-N, belongs to, or None."""
    place = model.resolve()
    is_step = place.parent.name in ("checkpoints", "history")
    run = place.parent.parent if is_step else place.parent
    is_inside = is_step or place.name == "best"
    return run if is_inside and RunDirectory(run).exists else None


def is_metrics(value: object) -> bool:
    """Return whether a value is a table of numbers by name."""
    return isinstance(value, dict) and all(map(is_number, value.values()))


def is_number(value: object) -> bool:
    """Return whether a value is a number, which a bool is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_step(record: Mapping[str, Any]) -> bool:
    """Return whether an object is a record of metrics.jsonl."""
    return is_metrics(record) and all(isinstance(record.get(key), kind) for key, kind in STEP_TYPES.items())


def _checksum(info: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(info).encode()).hexdigest()
