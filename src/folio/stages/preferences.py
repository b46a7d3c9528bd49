"""Parts of the stages that learn from preferences: settings, pairs as ids, evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from folio.config import Settings, Source
from folio.data.characters import require_known
from folio.data.preferences import PREFERENCES, Pair, Preference, fitting_pairs, texts_of
from folio.data.records import Parts, find_parts
from folio.errors import UserError
from folio.evaluation.preferences import longer_wins
from folio.log import format_count, format_times
from folio.model.transformer import Transformer
from folio.runs.budget import Budget
from folio.runs.load import find_model
from folio.runs.state import Training
from folio.runtime import Runtime, describe
from folio.stages.stage import Inputs, digest_of
from folio.tokenizer.protocol import Tokenizer
from folio.training.pairs import PairsConfig
from folio.training.plan import Plan
from folio.training.task import Task


@dataclass(frozen=True, kw_only=True)
class PreferencesConfig(Settings):
    """Where preferences are read from."""

    data: tuple[Source, ...] = ()
    """Preferences: a .jsonl, .json, .csv or .parquet file with `prompt`, `chosen` and `rejected` in each row, a folder of
    them, or a dataset of the Hugging Face Hub as OWNER/NAME:SUBSET:SPLIT, where subset and split may be left out; or several
    of these."""
    validation: Source | None = None
    """Held-out preferences, in the same form; by default the files of a folder that are named so, or else a tenth of the
    data."""


def read_preference_inputs(config: PreferencesConfig, model: Path) -> Inputs[Parts[Preference]]:
    """Read training and held-out preferences. Raises UserError where there are none."""
    if not config.data:
        raise UserError("--data is required: name a file of preferences.")
    find_model(model)  # a name that was mistyped is told before any data are looked for
    parts = find_parts(PREFERENCES, {}, config.data, config.validation)
    return Inputs(parts, parts.origin, digest_of([parts.train, parts.validation], model))


def tokenize_parts(parts: Parts[Preference], tokenizer: Tokenizer, block_size: int) -> Parts[Pair]:
    """Return training and held-out preferences as ids (see `fitting_pairs`)."""
    require_known(tokenizer, texts_of((*parts.train, *parts.validation)))
    train, validation = (
        fitting_pairs(part, tokenizer, block_size) for part in (parts.train, parts.validation)
    )
    return Parts(train, validation, parts.origin)


def pairs_training(
    model: Transformer,
    tokenizer: Tokenizer,
    task: Task,
    evaluation: Callable[[Any], Mapping[str, float]],
    config: PairsConfig,
    runtime: Runtime,
    minutes: float | None,
) -> Training:
    """Return a task on pairs with its evaluation, its plan and its time."""
    plan = Plan(
        model=model.config, micro_batch_size=config.micro_batch_size, accumulation=1, steps=task.steps
    )
    return Training(
        model=model,
        tokenizer=tokenizer,
        task=task,
        evaluation=evaluation,
        runtime=runtime,
        plan=plan,
        budget=Budget.of_minutes(minutes, task.steps),
    )


def facts_of(pairs: Parts[Pair], epochs: float, training: Training) -> dict[str, str]:
    """Return what is shown before training."""
    longer = longer_wins([(len(pair.chosen), len(pair.rejected)) for pair in pairs.validation])
    rule, share = ("the longer answer", longer) if longer >= 0.5 else ("the shorter answer", 1 - longer)
    return {
        "preferences": f"{len(pairs.train):,} pairs for training, {len(pairs.validation):,} held out: {pairs.origin}",
        "length alone": f"{rule} is the better one in {share:.1%} of the held-out pairs: the baseline",
        "machine": f"{describe(training.runtime.device)}; {training.runtime}",
        "training": f"{format_count(training.task.steps, 'step')}, each pair {format_times(epochs)}",
    }
