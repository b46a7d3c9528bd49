"""What the stages share that learn from preferences: settings, pairs as tokens, facts to show."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from torch import Tensor, nn

from folio.batch import Completions
from folio.config import Settings
from folio.data.preferences import Pair, Preference, pair_batch, read_preferences, tokenize_pair
from folio.data.records import Parts, find_parts
from folio.errors import UserError
from folio.evaluation.preferences import HeldOutPairs, longer_wins
from folio.log import format_times
from folio.model.directory import weights_digest
from folio.runs.state import Training
from folio.runtime import describe
from folio.tokenizer.protocol import Tokenizer

VALIDATION_PAIRS = 32
"""Pairs per batch of an evaluation."""


@dataclass(frozen=True, kw_only=True)
class PreferencesConfig(Settings):
    """Where preferences are read from."""

    data: str | None = None
    """Preferences: a .jsonl, .json or .parquet file with `prompt`, `chosen` and `rejected` in each row, a folder of
    .jsonl and .parquet files, or a dataset of the Hugging Face Hub as OWNER/NAME:SUBSET:SPLIT, where subset and split
    may be left out."""
    validation: str | None = None
    """Held-out preferences, in the same form; by default the last tenth of the data."""


def find_preferences(config: PreferencesConfig) -> Parts[Preference]:
    """Return training and held-out preferences. Raises UserError where there are none."""
    if config.data is None:
        raise UserError("--data is required: name a file of preferences.")
    return find_parts(read_preferences, {}, config.data, config.validation)


def digest_of(preferences: Parts[Preference], start: Path) -> str:
    """Return a SHA-256 of all preferences and of the weights of the model directory that a run starts from."""
    parts = [list(map(asdict, part)) for part in (preferences.train, preferences.validation)]
    return hashlib.sha256(json.dumps([*parts, weights_digest(start)]).encode()).hexdigest()


def tokenize_with_notice(
    preferences: Sequence[Preference], tokenizer: Tokenizer, block_size: int, console: Console
) -> list[Pair]:
    """Return preferences as ids, without those that are longer than the context, whose number is printed.

    Raises UserError for a character that the model does not know, and where none is left.
    """
    pairs = [tokenize_pair(tokenizer, preference) for preference in preferences]
    kept = [pair for pair in pairs if len(pair) <= block_size]
    if not kept:
        raise UserError(f"none of {len(pairs)} pairs fits into {block_size} tokens, the model's context.")
    if len(kept) < len(pairs):
        console.print(
            f"The context is {block_size} tokens: {len(pairs) - len(kept):,} of {len(pairs):,} pairs are left out.",
            soft_wrap=True,
        )
    return kept


def held_out_pairs(
    pairs: Sequence[Pair], pad_id: int, margins: Callable[[nn.Module, Completions], Tensor]
) -> HeldOutPairs:
    """Return the evaluation on pairs, in batches of like length."""
    ordered = sorted(pairs, key=len)
    batches = [
        pair_batch(ordered[first : first + VALIDATION_PAIRS], pad_id)
        for first in range(0, len(ordered), VALIDATION_PAIRS)
    ]
    return HeldOutPairs(batches, margins)


def facts_of(
    pairs: Sequence[Pair], held_out: Sequence[Pair], origin: str, epochs: float, training: Training
) -> dict[str, str]:
    """Return what is shown before training."""
    lengths = [(len(pair.chosen), len(pair.rejected)) for pair in held_out]
    return {
        "preferences": f"{len(pairs):,} pairs for training, {len(held_out):,} held out: {origin}",
        "length alone": f"right about {longer_wins(lengths):.1%} of the held-out pairs: the baseline",
        "machine": f"{describe(training.runtime.device)}; {training.runtime}",
        "training": f"{training.task.steps:,} steps, each pair {format_times(epochs)}",
    }
