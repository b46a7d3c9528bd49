"""Finding a model where a person points to."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from folio.checkpoint import newest_whole
from folio.errors import UserError
from folio.files import damage, readable_directory
from folio.model.directory import load_model
from folio.model.gpt import GPT
from folio.model.resize import resize_vocab
from folio.runs.directory import RunDirectory
from folio.tokenizer.directory import load_tokenizer
from folio.tokenizer.protocol import Tokenizer
from folio.tokenizer.special_tokens import SPECIAL_TOKENS


def find_model(path: Path) -> Path:
    """The model directory meant by `path`: itself, or a run's best, or its newest whole checkpoint.

    A damaged one is named on stderr, and passed over. Raises UserError if there is none.
    """
    if os.path.exists(path / "config.json"):
        return path
    if not os.path.exists(path):
        known = ", ".join(str(run.parent) for run in sorted(path.parent.glob("*/run.json"))[:5])
        raise UserError(f"{path}: no such run or model directory." + (f" There is {known}." if known else ""))
    best = readable_directory(path / "best")
    problem = damage(best) if best.exists() else None
    if best.exists() and problem is None:
        return best
    if recipes := sorted(recipe.name for recipe in path.glob("*.toml")):
        raise UserError(
            f"{path} is a folder of recipes, not a model: it has {', '.join(recipes)}. A recipe comes before the flags."
        )
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


def load_for_inference(path: Path, *, dropout: float | None = None) -> tuple[GPT, Tokenizer]:
    """Model and tokenizer of a run or a model directory. dropout: for training, where it is not the model's own."""
    directory = find_model(path)
    model, tokenizer = load_model(directory, dropout=dropout).eval(), load_tokenizer(directory)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise UserError(
            f"{directory} has a tokenizer of {tokenizer.vocab_size:,} tokens and a model of "
            f"{model.config.vocab_size:,}: they do not belong together."
        )
    return model, tokenizer


def load_for_chat(path: Path, *, dropout: float | None = None) -> tuple[GPT, Tokenizer]:
    """The same, of a model that has the tokens of conversations. Raises UserError where it lacks one."""
    model, tokenizer = load_for_inference(path, dropout=dropout)
    if not tokenizer.special_ids.keys() >= set(SPECIAL_TOKENS):
        raise UserError(f"{path} has no chat tokens: `folio sft {path}` teaches it to answer.")
    return model, tokenizer


def load_to_teach_chat(path: Path, *, dropout: float | None = None) -> tuple[GPT, Tokenizer]:
    """The same, to be trained on conversations: the tokens for them are added where they are missing."""
    model, tokenizer = load_for_inference(path, dropout=dropout)
    taught = tokenizer.with_chat_tokens()
    if taught.vocab_size > tokenizer.vocab_size:
        model = resize_vocab(model, tokenizer.vocab_size, taught.vocab_size)
    return model, taught
