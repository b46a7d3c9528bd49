"""Readers of a model while it is replaced all the time: each gets one version, and no error."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from killing import PROCESSES
from torch import Tensor
from trial import Trial

from commands import Workshop
from folio.errors import UserError
from folio.runs.load import find_model, load, load_for_inference, save

PAUSE = 0.1
"""Mean seconds between two replacements. Where none are left between them, a reader finds no version that stays."""
READS = {False: 1000, True: 50}
"""Quick or not."""


def replace(best: Path) -> None:
    """Replace a model by itself, without end, and at any moment of a read."""
    model, tokenizer = load(best)
    chance = random.Random(1)
    while True:
        time.sleep(chance.uniform(0, 2 * PAUSE))
        save(model, tokenizer, best)


def readers(shop: Workshop, quick: bool) -> Iterator[Trial]:
    """Find and load a model again and again while another process replaces it."""
    best = shop.folder / "replaced"
    model, tokenizer = load(shop.folder / "base")
    save(model, tokenizer, best)
    expected = model.state_dict()
    writer = PROCESSES.Process(target=replace, args=(best,))
    writer.start()
    versions: set[int] = set()
    try:
        while len(versions) < 2:  # until it has begun
            versions.add(find_model(best).stat().st_ino)
        for number in range(READS[quick]):
            yield read(best, number, expected)
    finally:
        writer.kill()
        writer.join()


def read(best: Path, number: int, expected: dict[str, Tensor]) -> Trial:
    """Read the model once."""
    what = f"read {number}"
    try:
        find_model(best)
        weights = load_for_inference(best)[0].state_dict()
    except UserError as error:
        return Trial(what=what, fault="wrong", evidence=str(error))
    except Exception as error:
        return Trial(what=what, fault="traceback", evidence=repr(error))
    is_same = all(torch.equal(weights[name], value) for name, value in expected.items())
    return Trial(what=what, fault=None if is_same else "silent")
