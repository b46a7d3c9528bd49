"""Every file of a run, flipped, cut, emptied, deleted: its readers and its resumption say so, or their results are the same."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from kills import kill_before, whole_run
from processes import Outcome, run
from trial import Fault, Trial, crash, trial

from commands import Workshop

DAMAGED_STAGES = ("pretrain", "sft", "ppo")
FLIPS = 5
"""Places of a file at which a bit is flipped, evenly spread from the first byte to the last."""
SHARE = {False: 1, True: 30}
"""One of so many combinations is tried; quick or not."""


def flip(place: int, path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[place * (len(content) - 1) // (FLIPS - 1)] ^= 1
        path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


HARM: dict[str, Callable[[Path], None]] = {
    **{f"flipped at {place}/{FLIPS - 1}": partial(flip, place) for place in range(FLIPS)},
    "cut to half": cut,
    "emptied": empty,
    "deleted": Path.unlink,
}


def damage(shop: Workshop, quick: bool) -> Iterator[Trial]:
    """Damage each file of an interrupted run of some stages, and give each command that reads it."""
    chance = random.Random(1)
    for stage in DAMAGED_STAGES:
        _, n_operations, expected = whole_run(shop, stage)
        source, name = shop.folder / f"{stage}-interrupted", f"{stage}-damaged"
        arrange = partial(kill_before, source, n_operations * 2 // 3)
        outcome = run(shop.command(stage, source.name), shop.folder, arrange)
        if not outcome.is_killed:
            raise RuntimeError(f"{stage} was not killed: {outcome.output}")
        sample = ("sample", name, "--prompt", "cat", "--tokens", "12")
        commands = {"sample RUN": sample, "sample RUN/best": ("sample", f"{name}/best", *sample[2:])}
        copied(source, shop.folder / name)
        said = {key: run(command, shop.folder).output for key, command in commands.items()}
        commands["--resume"] = shop.command(stage, name, "--resume")
        files = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
        for file in files:
            for harm, do in HARM.items():
                for key, command in commands.items():
                    if chance.random() * SHARE[quick] >= 1:
                        continue
                    copied(source, shop.folder / name)
                    do(shop.folder / name / file)
                    outcome = run(command, shop.folder)
                    same = key != "--resume" and outcome.output == said[key]
                    if key == "--resume" and outcome.code == 0:
                        same = shop.trace(name) == expected
                    yield trial(f"{stage}, {file} {harm}, {key}", fault_of(outcome, same), outcome)


def copied(source: Path, target: Path) -> None:
    """Replace the copy of a run."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def fault_of(outcome: Outcome, is_same: bool) -> Fault | None:
    """Return the fault of a command on damaged files. Its result may be another one only where it says something."""
    if fault := crash(outcome):
        return fault
    return None if is_same or "folio: " in outcome.output or "damaged" in outcome.output else "silent"
