"""A disk that is full from the n-th operation on that needs room, and a file that cannot grow: then, with room, it goes on."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from file_operations import before_each, from_number
from kills import verdict, whole_run
from processes import run
from trial import Trial, crash, trial

from commands import STAGES, Workshop

POINTS = {False: 40, True: 3}
"""Moments of each stage at which the disk gets full; quick or not."""
LARGEST = (0, 100, 1_000, 5_000, 20_000, 50_000)
"""Bytes that a file can have, which is where a write ends halfway, in the code of safetensors too."""


def no_room() -> None:
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_from(folder: Path, number: int) -> None:
    """Let every operation fail that needs room, from the n-th on."""
    before_each(folder, from_number(number, no_room, of_writing=True))


def limit_files(size: int) -> None:
    """Let no file grow beyond so many bytes. Another process writes the output, which may."""
    writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert writer.stdin is not None
    for stream in (1, 2):
        os.dup2(writer.stdin.fileno(), stream)
    writer.stdin.close()
    sys.stdout, sys.stderr = (open(stream, "w", encoding="utf-8", closefd=False) for stream in (1, 2))  # noqa: SIM115

    def finish() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(null, stream)
        writer.wait()

    Finalize(None, finish, exitpriority=0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def disk(shop: Workshop, quick: bool) -> Iterator[Trial]:
    """Let the disk be full in every stage, then make room."""
    for stage in STAGES:
        _, n_operations, expected = whole_run(shop, stage, of_writing=True)
        n_points = min(POINTS[quick], n_operations)
        numbers = [1 + point * n_operations // n_points for point in range(n_points)]
        for number in numbers:
            name = f"{stage}-full-{number}"
            yield tried(shop, stage, name, partial(full_from, shop.folder / name, number), expected)
        for size in LARGEST[:: 3 if quick else 1]:
            yield tried(shop, stage, f"{stage}-limit-{size}", partial(limit_files, size), expected)


def tried(
    shop: Workshop, stage: str, name: str, arrange: Callable[[], None], expected: dict[str, Any]
) -> Trial:
    """Run a stage with a full disk, and again with room."""
    what = f"{stage}, {name.removeprefix(stage)[1:]}"
    outcome = run(shop.command(stage, name), shop.folder, arrange)
    if fault := crash(outcome):
        return trial(what, fault, outcome)
    outcome = run(shop.command(stage, name, "--resume"), shop.folder)
    return trial(f"{what}, resumed", verdict(shop, name, outcome, expected), outcome)
