"""A reward model, learned from preferences (Bradley-Terry)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from folio.config import Settings, from_table
from folio.data.preferences import Pair, tokenize_pairs
from folio.model.score import ScoreModel
from folio.objectives.reward import reward_loss
from folio.tokenizer.protocol import Tokenizer
from folio.training.loop import StepReport
from folio.training.optimizer import OptimizerConfig
from folio.training.pairs import PairsConfig, pairs_task
from folio.training.task import Task


@dataclass(frozen=True, kw_only=True)
class RewardConfig(Settings):
    """Settings of the training of a reward model."""

    pairs: PairsConfig = field(default_factory=PairsConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=0.005, embedding_learning_rate=0.005, head_learning_rate=0.002, eps=1e-5
        )
    )


def reward_task(model: ScoreModel, pairs: Sequence[Pair], pad_id: int, config: RewardConfig) -> Task:
    """Return the task of training a reward model on pairs."""
    return pairs_task(model, pairs, pad_id, reward_loss, config.pairs, config.optimizer)


def reward(
    model: ScoreModel,
    tokenizer: Tokenizer,
    preferences: Sequence[Mapping[str, Any]],
    *,
    config: RewardConfig | None = None,
    **settings: Any,
) -> Iterator[StepReport]:
    """Train a reward model on preferences, yielding a report after each optimizer step.

    Args:
        model: changed in place; `folio.ScoreModel.like(model)` makes one of a language model.
        tokenizer: must have the tokens of the chat template (`folio.add_chat_tokens`).
        preferences: rows `{"prompt": ..., "chosen": ..., "rejected": ...}`, texts or lists of messages. Those longer
            than the model's context are left out, with a warning.
        config: all settings at once.
        settings: any setting of `RewardConfig` or its parts by name, such as `epochs=2`; it overrides that of `config`.

    Dropout, where the model has it, draws from torch's global random state, which is then set to the seed.

    Raises:
        UserError: for a row that is no preference, a character that the tokenizer does not know, or an unknown setting.
    """
    config = from_table(RewardConfig, settings, "reward", config)
    pairs = tokenize_pairs(preferences, tokenizer, model.config.block_size)
    if model.config.dropout:
        torch.manual_seed(config.pairs.seed)
    return reward_task(model, pairs, tokenizer.special_ids["<|pad|>"], config).reports()
