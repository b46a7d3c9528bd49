"""A run directory: everything that one training run leaves behind."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from folio.errors import UserError
from folio.files import restore_directory, write_file

INFO_TYPES = {"status": str, "stage": str, "config": dict, "runtime": dict, "plan": dict, "data_sha256": str}
"""Keys that run.json must have."""
FORMAT = 2
"""Version of what a run directory holds. Finished runs of older formats can be read, unfinished ones not resumed."""
BEFORE_A_RUN = {".lock", ".run.json.writing"}
"""All that a run can have left which was killed before it began."""


class RunDirectory:
    """`runs/<name>/`, owned by one process at a time.

    run.json            what was asked for, what was chosen, versions, hardware, status
    metrics.jsonl       one object a step
    samples.jsonl       what the model wrote along the way
    checkpoints/step-N  to resume from, and model directories as well
    best/               the model with the lowest validation loss
    loss.png, rl.png    the curves; the second where a policy learned from rewards
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
        """Whether a run was begun here."""
        return os.path.exists(self.info_file)  # unlike Path.exists, it raises for no path

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Create the directory and keep other processes out of it while the block runs, however it ends. A
        directory in which no run was begun then is not left behind.

        Raises UserError if another process holds it, if it holds other things, or if it cannot be written.
        """
        try:
            if self.path.is_dir() and not self.exists:
                leftovers = {path.name for path in self.path.iterdir()} - BEFORE_A_RUN
                if leftovers:
                    raise UserError(
                        f"{self.path} holds other files ({min(leftovers)}) and no run; choose another --run."
                    )
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("a+")
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror}).") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{self.path} is in use by another process; wait for it or choose another --run."
                ) from None
            restore_directory(self.best)
            try:
                yield
            finally:
                if not self.exists:
                    self._remove_if_empty()

    def _remove_if_empty(self) -> None:
        """Never more than what `owned` made: it may be that run.json is only out of sight."""
        for name in BEFORE_A_RUN:
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()

    def read_info(self) -> dict[str, Any]:
        """run.json. Raises UserError if it is damaged."""
        try:
            info = json.loads(self.info_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{self.info_file} is damaged ({error}); choose another --run.") from None
        if isinstance(info, dict) and "format" not in info:
            info = {"format": 1, "data_sha256": info.get("text_sha256"), **info}
        for key, kind in INFO_TYPES.items():
            if not isinstance(info, dict) or not isinstance(info.get(key), kind):
                raise UserError(f"{self.info_file} is damaged (no {key}); choose another --run.")
        return info

    @staticmethod
    def is_old(info: Mapping[str, Any]) -> bool:
        """Return whether a run.json was written by a folio whose runs this one cannot resume."""
        return bool(info["format"] < FORMAT)

    def write_info(self, info: dict[str, Any]) -> None:
        """Replace run.json in one step. Raises UserError when the disk is full or cannot be written."""
        write_file(self.info_file, (json.dumps(info, indent=2) + "\n").encode())

    def set_status(self, status: str, **facts: Any) -> None:
        """Record how the run stands: running, interrupted, failed or finished."""
        self.write_info({**self.read_info(), "status": status, **facts})
