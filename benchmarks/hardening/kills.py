"""kill -9 in every stage, before file operations and at any time: the run goes on to the same end, to the last bit."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from file_operations import before_each, from_number
from killing import die
from processes import Outcome, run
from trial import Fault, Trial, crash, trial

from commands import STAGES, Workshop

CHAINS = {False: 17, True: 2}
"""Runs of a stage, each killed up to three times; quick or not."""


def kill_before(folder: Path, number: int) -> None:
    """Kill this process before its n-th operation on the files of a run."""
    before_each(folder, from_number(number, die))


def count_operations(folder: Path, log: Path, of_writing: bool) -> None:
    """Write a byte to a file for each operation on the files of a run, or for each that needs room."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    before_each(folder, from_number(1, lambda: os.write(handle, b".") and None, of_writing=of_writing))


def whole_run(shop: Workshop, stage: str, of_writing: bool = False) -> tuple[Outcome, int, dict[str, object]]:
    """Run a stage without a fault: its outcome, the number of its operations, and what it leaves behind."""
    name, log = f"{stage}-counted-{of_writing}", shop.folder / "operations"
    outcome = run(
        shop.command(stage, name), shop.folder, partial(count_operations, shop.folder / name, log, of_writing)
    )
    if outcome.code:
        raise RuntimeError(f"{stage} ends with {outcome.code}: {outcome.output}")
    return outcome, log.stat().st_size, shop.trace(name)


def kills(shop: Workshop, quick: bool) -> Iterator[Trial]:
    """Kill runs of every stage, each up to three times, and let them go on."""
    chance = random.Random(1)
    for stage in STAGES:
        whole, n_operations, expected = whole_run(shop, stage)
        for chain in range(CHAINS[quick]):
            name = f"{stage}-killed-{chain}"
            first = 1 + chain * n_operations // CHAINS[quick]
            moments: list[tuple[int | None, float | None]] = [
                (first, None),
                (chance.randint(1, n_operations), None),
                (None, chance.uniform(0, whole.seconds)),
            ]
            yield chain_of_kills(shop, stage, name, moments, expected)


def chain_of_kills(
    shop: Workshop,
    stage: str,
    name: str,
    moments: list[tuple[int | None, float | None]],
    expected: dict[str, object],
) -> Trial:
    """Kill a run at these operations or after these seconds, one after the other, and let it end."""
    n_killed = 0
    for number, seconds in moments:
        arrange = partial(kill_before, shop.folder / name, number or 10**9)
        outcome = run(shop.command(stage, name, "--resume"), shop.folder, arrange, kill_after=seconds)
        n_killed += outcome.is_killed
        if not outcome.is_killed and (fault := crash(outcome) or ("lost" if outcome.code else None)):
            return trial(f"{stage}, killed at {moments}", fault, outcome, n_killed)
    outcome = run(shop.command(stage, name, "--resume"), shop.folder)
    return trial(f"{stage}, killed at {moments}", verdict(shop, name, outcome, expected), outcome, n_killed)


def verdict(shop: Workshop, name: str, outcome: Outcome, expected: dict[str, object]) -> Fault | None:
    """Return the fault of a run that went on after something had ended it, if it has one."""
    if fault := crash(outcome):
        return fault
    return None if outcome.code == 0 and shop.trace(name) == expected else "lost"
