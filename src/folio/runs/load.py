"""Find, load and save models: runs, checkpoints, model directories."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch

from folio.checkpoint import newest_valid
from folio.errors import FolioWarning, UserError
from folio.files import CHECKSUMS, damage, read_directory, write_directory
from folio.model.directory import CONFIG, WEIGHTS, load_model, save_model
from folio.model.gpt import GPT
from folio.model.resize import resize_vocab
from folio.model.transformer import Transformer
from folio.runs.directory import RunDirectory, run_around
from folio.tokenizer.directory import load_tokenizer
from folio.tokenizer.protocol import Tokenizer
from folio.tokenizer.special_tokens import STANDARD_NAMES, has_chat_tokens

T = TypeVar("T")
MODEL_FILES = (CONFIG, WEIGHTS, "tokenizer.json")
"""What a model that folio wrote consists of, and so what its checksums must cover."""


def read_model(path: Path, read: Callable[[Path], T]) -> T:
    """Return what `read` makes of the model directory for `path`, as `find_model` finds it.

    Its files are all of one version, even while a run replaces its best model.
    """
    return read_directory(find_model(path), read)


def find_model(path: Path) -> Path:
    """Return the model directory for `path`: itself, a run's best model, or its newest valid checkpoint.

    What folio wrote is checked against its checksums: a run's damaged best model is passed over, with a FolioWarning.
    Raises UserError if there is no model, or the directory that `path` names is damaged.
    """
    if read_directory(path, holds_model):
        require_whole(path)
        return path
    if not os.path.exists(path):
        known = ", ".join(str(run.parent) for run in sorted(path.parent.glob("*/run.json"))[:5])
        raise UserError(f"{path}: no such run or model directory." + (f" Known: {known}." if known else ""))
    best = RunDirectory(path).best
    found = read_directory(best, os.path.exists)
    problem = damage(best, MODEL_FILES) if found else None
    if found and problem is None:
        return best
    if recipes := sorted(recipe.name for recipe in path.glob("*.toml")):
        raise UserError(f"{path} is a folder of recipes, not a model: it has {', '.join(recipes)}.")
    checkpoint, problems = newest_valid(path / "checkpoints", MODEL_FILES)
    if problem:
        problems.insert(0, f"{best} is damaged ({problem}); {in_place_of_best(path, checkpoint)}.")
    if checkpoint is not None:
        for line in problems:
            warnings.warn(line, FolioWarning, stacklevel=1)  # one place for all callers: it is shown once
        return checkpoint
    stage = stage_of(path)
    if stage == "ladder":
        raise UserError(f"{path} is a ladder, which keeps losses but no models.")
    if problems:
        raise UserError(f"{path} is a run with no valid checkpoint: {' '.join(problems)}")
    if RunDirectory(path).exists:
        raise UserError(f"{path} is a run with no checkpoint yet.")
    raise UserError(f"{path} is neither a run nor a model directory: it has no run.json and no config.json.")


def holds_model(directory: Path) -> bool:
    """Return whether a directory is that of a model, whole or not."""
    return any(os.path.exists(directory / name) for name in (CONFIG, CHECKSUMS))


def in_place_of_best(run: Path, checkpoint: Path | None) -> str:
    """Say what is used in place of a run's damaged best model, and how that is mended."""
    stage = stage_of(run)
    mend = f", and `folio {stage} --run {run} --resume` mends it" if stage else ""
    return f"{checkpoint} is used{mend}" if checkpoint else f"there is no checkpoint to use{mend}"


def require_whole(directory: Path) -> None:
    """Raise UserError where files of a model directory differ from its checksums, or a run's own has none.

    A directory that others made has no checksums, and is taken as it is.
    """
    run = run_around(directory)
    if run is None and not os.path.exists(directory / CHECKSUMS):
        return
    if problem := damage(directory, MODEL_FILES):
        then = (
            f"Copy it again, or remove its {CHECKSUMS} if you changed it yourself."
            if run is None
            else f"Name the run, {run}, to use what is whole of it."
        )
        raise UserError(f"{directory} is damaged ({problem}). {then}")


def stage_of(path: Path) -> str:
    """Return the stage of a run, or "" if it has no valid run.json."""
    with suppress(UserError):
        return str(RunDirectory(path).read_info()["stage"])
    return ""


def load(
    path: str | Path, *, device: str | torch.device = "cpu", dropout: float | None = None
) -> tuple[GPT, Tokenizer]:
    """Load a model and its tokenizer.

    Args:
        path: a run directory (its best model), a checkpoint in it, or any GPT-2, Llama, Mistral, Qwen2 or Qwen3 model
            directory in Hugging Face's format.
        device: device of the model.
        dropout: replaces the model's own. Use 0 for reinforcement learning and DPO.

    Returns:
        The model, in evaluation mode, and its tokenizer.

    Raises:
        UserError: if there is no model, it is damaged, or its architecture is not supported.
    """
    model, tokenizer = load_for_inference(Path(path).expanduser(), dropout=dropout)
    return model.to(device), tokenizer


def add_chat_tokens(model: GPT, tokenizer: Tokenizer) -> tuple[GPT, Tokenizer]:
    """Return a model and a tokenizer that have the tokens of the chat template; those that are there already stay.

    New tokens get the next ids, and embeddings that are the mean of all others (see `resize_vocab`); `folio.sft` teaches
    the model to use them. What has all the tokens is returned as it is.
    """
    extended = tokenizer.with_chat_tokens()
    if extended.vocab_size > tokenizer.vocab_size:
        model = resize_vocab(model, tokenizer.vocab_size, extended.vocab_size)
    return model, extended


def save(model: Transformer, tokenizer: Tokenizer, path: str | Path) -> None:
    """Write a model and its tokenizer as a Hugging Face model directory, which `load` and `transformers` read.

    The directory is written atomically and replaces an earlier one that folio wrote. Raises UserError if the path
    contains other files or cannot be written.
    """
    directory = Path(path).expanduser()
    if directory.is_file() or (directory.is_dir() and has_other_files(directory)):
        raise UserError(f"{directory} contains other files; choose a new directory.")
    write_directory(directory, lambda temporary: save_model_and_tokenizer(model, tokenizer, temporary))


def has_other_files(directory: Path) -> bool:
    """Return whether a directory has files that `write_directory` did not write, and so must not replace."""
    return any(directory.iterdir()) and not (directory / CHECKSUMS).exists()


def save_model_and_tokenizer(model: Transformer, tokenizer: Tokenizer, directory: Path) -> None:
    """Write a model and its tokenizer into an existing directory."""
    special_ids = {
        name: tokenizer.special_ids[token]
        for name, token in STANDARD_NAMES.items()
        if token in tokenizer.special_ids
    }
    save_model(model, directory, special_ids=special_ids)
    tokenizer.save(directory, model.config.block_size)


def load_for_inference(path: Path, *, dropout: float | None = None) -> tuple[GPT, Tokenizer]:
    """Load a model, in evaluation mode, and its tokenizer. dropout: replaces the model's own.

    Raises UserError if the tokenizer does not fit the model.
    """
    model, tokenizer = read_model(
        path, lambda directory: (load_model(directory, dropout=dropout).eval(), load_tokenizer(directory))
    )
    if tokenizer.vocab_size > model.config.vocab_size:
        raise UserError(
            f"{path} has a tokenizer with {tokenizer.vocab_size:,} tokens but a model with "
            f"{model.config.vocab_size:,}: they do not belong together."
        )
    return model, tokenizer


def load_for_chat(path: Path, *, dropout: float | None = None) -> tuple[GPT, Tokenizer]:
    """Load a chat model and its tokenizer. Raises UserError if it lacks tokens of the chat template."""
    model, tokenizer = load_for_inference(path, dropout=dropout)
    if not has_chat_tokens(tokenizer.special_ids):
        raise UserError(f"{path} has no chat tokens; fine-tune it with `folio sft {path}` first.")
    return model, tokenizer


def load_to_teach_chat(path: Path, *, dropout: float | None = None) -> tuple[GPT, Tokenizer]:
    """Load a model and its tokenizer, adding the tokens of the chat template that are missing."""
    return add_chat_tokens(*load_for_inference(path, dropout=dropout))
