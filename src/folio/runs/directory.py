"""The run directory: everything that one training run leaves behind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from folio.errors import UserError
from folio.files import restore_directory, write_file

INFO_TYPES = {"status": str, "stage": str, "config": dict, "runtime": dict, "plan": dict, "data_sha256": str}
"""Keys that run.json must have, and their types."""
FORMAT = 2
"""Version of what a run directory holds. Finished runs of older formats can be read, unfinished ones not resumed."""
BEFORE_A_RUN = {".lock", ".run.json.writing"}
"""Files that a run may leave when it is killed before it begins."""


class RunDirectory:
    """`runs/<name>/`, owned by one process at a time.

    run.json            resolved config, plan, versions, hardware, status
    metrics.jsonl       one object per step
    samples.jsonl       texts generated during training
    checkpoints/step-N  checkpoints to resume from, each a model directory as well
    best/               the model with the lowest validation loss
    loss.png, rl.png    curves; rl.png for PPO and GRPO
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info_file = path / "run.json"
        self.metrics_file = path / "metrics.jsonl"
        self.samples_file = path / "samples.jsonl"
        self.checkpoints = path / "checkpoints"
        self.best = path / "best"
        self.plot = path / "loss.png"
        self.rl_plot = path / "rl.png"

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
        try:
            info = json.loads(self.info_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{self.info_file} is damaged ({error}); choose another directory.") from None
        if isinstance(info, dict) and "format" not in info:
            info = {"format": 1, "data_sha256": info.get("text_sha256"), **info}
        for key, kind in INFO_TYPES.items():
            if not isinstance(info, dict) or not isinstance(info.get(key), kind):
                raise UserError(f"{self.info_file} is damaged (no {key}); choose another directory.")
        return info

    @staticmethod
    def is_old(info: Mapping[str, Any]) -> bool:
        """Return whether a run.json was written by a folio whose runs this one cannot resume."""
        return bool(info["format"] < FORMAT)

    def write_info(self, info: dict[str, Any]) -> None:
        """Replace run.json in one step. Raises UserError if the disk is full or cannot be written."""
        write_file(self.info_file, (json.dumps(info, indent=2) + "\n").encode())

    def set_status(self, status: str, **facts: Any) -> None:
        """Record the status (running, interrupted, failed or finished) and other facts in run.json."""
        self.write_info({**self.read_info(), "status": status, **facts})
