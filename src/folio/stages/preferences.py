"""What the stages share that learn from preferences: settings, and pairs as tokens."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import tyro
from rich.console import Console

from folio.batch import Completions
from folio.data.preferences import Pair, Preference, pair_batch, read_preferences, tokenize_pair
from folio.data.records import Parts, find_parts
from folio.errors import UserError
from folio.model.directory import weights_digest
from folio.runtime import RuntimeConfig
from folio.stages.stage import TuningConfig
from folio.tokenizer.protocol import Tokenizer

VALIDATION_PAIRS = 32
"""In one batch."""


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(TuningConfig):
    """What every stage is told that learns from preferences."""

    model: tyro.conf.Positional[Path] = Path("runs/shakespeare-sft")
    """Where to start: a run, a checkpoint in it, or any model directory. Or a recipe (.toml), or a folder with one."""
    data: str | None = None
    """Preferences: a .jsonl, .json or .parquet file with `prompt`, `chosen` and `rejected` in each row, a folder of
    .jsonl and .parquet files, or a dataset of the Hugging Face Hub as OWNER/NAME:SUBSET:SPLIT, where subset and split
    may be left out."""
    validation: str | None = None
    """Preferences to measure on, in the same form; by default the last tenth of the data."""
    epochs: float = 1.0
    """How often each pair is seen: more than once, and it is learned by heart."""
    micro_batch_size: int = 8
    """Pairs that go through the model together; a step is one such batch."""
    runtime: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(compile="off"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.epochs < math.inf:
            raise UserError(f"epochs is {self.epochs}: it must be above 0.")
        if self.micro_batch_size < 1:
            raise UserError(f"micro_batch_size is {self.micro_batch_size}: it must be at least 1.")


def find_preferences(config: PreferenceConfig) -> Parts[Preference]:
    """Preferences to learn from and to measure on. Raises UserError where there are none."""
    if config.data is None:
        raise UserError("there is nothing to learn from: name a file of preferences with --data.")
    return find_parts(read_preferences, {}, config.data, config.validation)


def digest_of(preferences: Parts[Preference], start: Path) -> str:
    """What tells preferences and the model that a run starts from, a model directory, from others."""
    learned, measured = (list(map(asdict, part)) for part in (preferences.train, preferences.validation))
    parts = [learned, measured, weights_digest(start)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def tokenized(
    preferences: Sequence[Preference], tokenizer: Tokenizer, block_size: int, console: Console
) -> list[Pair]:
    """Preferences as ids, without those that are longer than the context, which are counted.

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


def batches_of(pairs: Sequence[Pair], pad_id: int) -> list[Completions]:
    """All pairs, those of like length together."""
    ordered = sorted(pairs, key=len)
    return [
        pair_batch(ordered[first : first + VALIDATION_PAIRS], pad_id)
        for first in range(0, len(ordered), VALIDATION_PAIRS)
    ]
