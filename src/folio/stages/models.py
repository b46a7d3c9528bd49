"""Finding a model where a person points to."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from folio.checkpoint import damage, newest_whole, surviving
from folio.errors import UserError
from folio.model.directory import load_model
from folio.model.gpt import GPT
from folio.tokenizer.char import CharTokenizer
from folio.train.run import RunDirectory


def find_model(path: Path) -> Path:
    """The model directory meant by `path`: itself, or a run's best, or its newest whole checkpoint.

    A damaged one is named on stderr, and passed over. Raises UserError if there is none.
    """
    if os.path.exists(path / "config.json"):
        return path
    if not os.path.exists(path):
        known = ", ".join(str(run.parent) for run in sorted(path.parent.glob("*/run.json"))[:5])
        raise UserError(f"{path}: no such run or model directory." + (f" There is {known}." if known else ""))
    best = surviving(path / "best")
    problem = damage(best) if best.exists() else None
    if best.exists() and problem is None:
        return best
    checkpoint, problems = newest_whole(path / "checkpoints")
    for line in ([f"{best} is damaged ({problem}); looking for a checkpoint."] if problem else []) + problems:
        print(f"folio: {line}", file=sys.stderr)
    if checkpoint is None and stage_of(path) == "ladder":
        raise UserError(
            f"{path} is a ladder: it keeps losses, not models. `folio pretrain` makes a model to keep."
        )
    if checkpoint is None:
        raise UserError(
            f"{path} holds no model yet: let `folio {stage_of(path) or 'pretrain'} --run {path} --resume` run on."
        )
    return checkpoint


def stage_of(path: Path) -> str:
    """Which stage made a run, or "" where no run.json tells."""
    with suppress(UserError):
        return str(RunDirectory(path).read_info()["stage"])
    return ""


def load_for_inference(path: Path) -> tuple[GPT, CharTokenizer]:
    """Model and tokenizer of a run or a model directory."""
    directory = find_model(path)
    return load_model(directory).eval(), CharTokenizer.load(directory)
