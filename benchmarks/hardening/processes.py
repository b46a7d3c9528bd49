"""Commands of folio in processes of their own, forked from one that has imported it: each starts at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from killing import PROCESSES, run_until

LIMIT = 180.0
"""Seconds after which a command hangs."""
HANGS = -999
"""Stands for the exit code of a command that hangs."""


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code (negative for a signal), all that it wrote, and how long it took."""

    code: int
    output: str
    seconds: float

    @property
    def is_killed(self) -> bool:
        return self.code == -signal.SIGKILL


def nothing() -> None:
    """Arrange nothing."""


def run(
    arguments: Sequence[str | Path],
    folder: Path,
    arrange: Callable[[], None] = nothing,
    kill_after: float | None = None,
    limit: float = LIMIT,
) -> Outcome:
    """Run a command in a folder.

    arrange: what to do in the process beforehand; can be pickled. kill_after: seconds until kill -9.
    """
    output = folder / "output.txt"
    output.unlink(missing_ok=True)
    process = PROCESSES.Process(
        target=child, args=(str(folder), arrange, [str(each) for each in arguments], str(output))
    )
    start = time.perf_counter()
    process.start()
    process.join(limit if kill_after is None else kill_after)
    hangs = kill_after is None and process.exitcode is None
    if process.exitcode is None and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    written = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
    code = HANGS if hangs else process.exitcode
    assert code is not None
    return Outcome(code, written, time.perf_counter() - start)


def child(folder: str, arrange: Callable[[], None], arguments: list[str], output: str) -> None:
    """In a process of its own: the command."""
    os.chdir(folder)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    run_until(arrange, arguments, output)
