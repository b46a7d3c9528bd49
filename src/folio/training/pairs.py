"""Learning from preferences: a reward model (Bradley-Terry), or a policy at once (DPO)."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from folio.config import Count, NonNegative, Positive, Seed, Settings, from_table
from folio.data.preferences import Pair, PairBatches, tokenize_pairs
from folio.errors import UserError
from folio.model.gpt import GPT
from folio.model.score import ScoreModel
from folio.model.transformer import Transformer
from folio.objectives.dpo import dpo_loss
from folio.objectives.reward import reward_loss
from folio.tokenizer.protocol import Tokenizer
from folio.training.loop import Accumulated, LossFunction, StepReport
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.schedule import ScheduleConfig
from folio.training.task import Task


@dataclass(frozen=True, kw_only=True)
class PairsConfig(Settings):
    """Settings of one pass after another over pairs of answers."""

    epochs: Positive = 1.0
    """Passes over the pairs; more than one, and they are memorized."""
    micro_batch_size: Count = 8
    """Pairs per forward pass; each optimizer step is one of them."""
    seed: Seed = 1
    """Seed of the order of the pairs, and of a new head's weights."""
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(decay_fraction=1.0))

    def steps(self, n_pairs: int) -> int:
        """Return the optimizer steps for so many pairs."""
        return max(1, round(self.epochs * math.ceil(n_pairs / self.micro_batch_size)))


@dataclass(frozen=True, kw_only=True)
class RewardConfig(Settings):
    """Settings of the training of a reward model."""

    pairs: PairsConfig = field(default_factory=PairsConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=0.005, embedding_learning_rate=0.005, head_learning_rate=0.002, eps=1e-5
        )
    )


@dataclass(frozen=True, kw_only=True)
class DPOConfig(Settings):
    """Settings of direct preference optimization."""

    beta: Positive = 0.1
    """Strength of the pull towards the reference: the smaller, the further the model goes."""
    nll_coef: NonNegative = 0.0
    """Weight of -ln p per token of each chosen answer, which keeps them from becoming less likely. It is part of
    loss, not of val_loss."""
    pairs: PairsConfig = field(default_factory=PairsConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            optimizer="adamw",
            learning_rate=2e-5,
            embedding_learning_rate=2e-5,
            head_learning_rate=2e-5,
            beta1=0.9,
            eps=1e-5,
        )
    )


def reward_task(model: ScoreModel, pairs: Sequence[Pair], pad_id: int, config: RewardConfig) -> Task:
    """Return the task of training a reward model on pairs."""
    return _pairs_task(model, pairs, pad_id, reward_loss, config.pairs, config.optimizer)


def dpo_task(model: GPT, reference: GPT, pairs: Sequence[Pair], pad_id: int, config: DPOConfig) -> Task:
    """Return the task of training a policy on pairs, near to a frozen reference."""
    loss = partial(dpo_loss, reference=reference, beta=config.beta, nll_coef=config.nll_coef)
    return _pairs_task(model, pairs, pad_id, loss, config.pairs, config.optimizer)


def _pairs_task(
    model: Transformer,
    pairs: Sequence[Pair],
    pad_id: int,
    loss_function: LossFunction,
    config: PairsConfig,
    optimizer: OptimizerConfig,
) -> Task:
    source = PairBatches(pairs, batch_size=config.micro_batch_size, pad_id=pad_id, seed=config.seed)
    return Task(
        model=model,
        source=Accumulated(source, 1),
        loss_function=loss_function,
        optimizers=build_optimizers(model, optimizer),
        steps=config.steps(len(pairs)),
        schedule=config.schedule,
        max_norm=optimizer.max_norm,
    )


def reward(
    model: ScoreModel, tokenizer: Tokenizer, preferences: Sequence[Mapping[str, Any]], **settings: Any
) -> Iterator[StepReport]:
    """Train a reward model on preferences, yielding a report after each optimizer step.

    Args:
        model: changed in place; `folio.ScoreModel.like(model)` makes one of a language model.
        tokenizer: must have the tokens of the chat template (`folio.add_chat_tokens`).
        preferences: rows `{"prompt": ..., "chosen": ..., "rejected": ...}`, texts or lists of messages. Those longer
            than the model's context are left out, with a warning.
        settings: any setting of `RewardConfig` or its parts by name, such as `epochs=2`.

    Raises:
        UserError: for a row that is no preference, a character that the tokenizer does not know, or an unknown setting.
    """
    config = from_table(RewardConfig, settings, "reward")
    pairs = tokenize_pairs(preferences, tokenizer, model.config.block_size)
    torch.manual_seed(config.pairs.seed)
    return reward_task(model, pairs, tokenizer.special_ids["<|pad|>"], config).reports()


def dpo(
    model: GPT,
    tokenizer: Tokenizer,
    preferences: Sequence[Mapping[str, Any]],
    *,
    reference: GPT | None = None,
    **settings: Any,
) -> Iterator[StepReport]:
    """Train a policy on preferences by DPO, yielding a report after each optimizer step.

    Args:
        model: changed in place. A model without dropout: margins compare it with its reference.
        tokenizer: must have the tokens of the chat template (`folio.add_chat_tokens`).
        preferences: as for `folio.reward`.
        reference: the model to stay near to; by default a copy of `model` as it is now.
        settings: any setting of `DPOConfig` or its parts by name, such as `beta=0.05`.

    Raises:
        UserError: for a row that is no preference, a character that the tokenizer does not know, or an unknown setting.
    """
    config = from_table(DPOConfig, settings, "dpo")
    if model.config.dropout:
        raise UserError(f"the model has dropout {model.config.dropout}: load it with dropout=0.0.")
    pairs = tokenize_pairs(preferences, tokenizer, model.config.block_size)
    frozen = copy.deepcopy(model).requires_grad_(False) if reference is None else reference
    torch.manual_seed(config.pairs.seed)
    return dpo_task(model, frozen.eval(), pairs, tokenizer.special_ids["<|pad|>"], config).reports()
