"""Load rewards: reward models, functions of files, likelihoods under a base model, and weighted sums of them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

from folio.errors import UserError
from folio.model.directory import load_score_model
from folio.model.score import ScoreModel
from folio.model.transformer import Transformer
from folio.rl.rewards import FunctionReward, LikelihoodReward, ModelReward, RewardSource, WeightedSum
from folio.runs.load import load_for_inference, read_model
from folio.runs.recipes import find_recipe_file
from folio.runs.worker import Worker
from folio.tokenizer.directory import load_tokenizer
from folio.tokenizer.protocol import Tokenizer

LIKELIHOOD = "likelihood:"
"""Before the name of a base model: the reward is how likely it finds the completion."""


def load_rewards(specs: Sequence[str], tokenizer: Tokenizer, seconds: float) -> WeightedSum:
    """Load reward models and functions as a weighted sum. Each function runs in a process of its own (see `Worker`).

    seconds: time limit of a function for one completion. Raises UserError if one is missing, if a function's file cannot
    be imported, and if a model has another tokenizer than the policy.
    """
    parts = []
    for spec in specs:
        name, weight = split_weight(spec)
        parts.append((_load(name, tokenizer, seconds), weight))
    return WeightedSum(parts)


def _load(name: str, tokenizer: Tokenizer, seconds: float) -> RewardSource:
    if name.startswith(LIKELIHOOD):
        model, own = load_for_inference(Path(name.removeprefix(LIKELIHOOD)), dropout=0.0)
        return LikelihoodReward(model.eval().requires_grad_(False), own)
    if is_function(name):
        return FunctionReward(name, Worker(find_recipe_file(name), seconds))
    return load_model_reward(name, tokenizer)


def model_paths(specs: Sequence[str]) -> list[Path]:
    """Return where the models among the sources are."""
    names = [split_weight(spec)[0] for spec in specs]
    return [Path(name.removeprefix(LIKELIHOOD)) for name in names if not is_function(name)]


def models_in(rewards: WeightedSum) -> list[Transformer]:
    """Return the models among the sources."""
    return [source.model for source, _ in rewards.parts if isinstance(source, ModelReward | LikelihoodReward)]


def split_weight(spec: str) -> tuple[str, float]:
    """Split `SOURCE=WEIGHT`; the weight is 1 by default. What exists under the whole name is a source without a weight.

    Raises UserError for a weight that is not a number.
    """
    spec = os.path.expanduser(spec)
    name, equals, weight = spec.rpartition("=")
    if not equals or os.path.exists(spec) or re.search(r"\.py:[^=]*$", spec):
        return spec, 1.0
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{spec}: the weight {weight!r} is not a number.")
    return name, number


def is_function(name: str) -> bool:
    """Return whether a source is `file.py:name`, not a model."""
    return re.search(r"\.py(:|$)", name) is not None


def load_reward_model(path: Path) -> tuple[ScoreModel, Tokenizer]:
    """Load a reward model, in evaluation mode, and its tokenizer. Raises UserError where there is none."""
    return read_model(
        path, lambda directory: (load_score_model(directory, dropout=0.0).eval(), load_tokenizer(directory))
    )


def load_model_reward(name: str, tokenizer: Tokenizer) -> RewardSource:
    """Load a reward model. Raises UserError if its tokenizer is not the policy's."""
    model, own = load_reward_model(Path(name))
    if own != tokenizer:
        raise UserError(
            f"{name} has another tokenizer than the policy; train the reward model from the same model."
        )
    return ModelReward(model.requires_grad_(False), tokenizer.special_ids["<|pad|>"])
