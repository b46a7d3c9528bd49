"""Direct preference optimization: a policy learned from preferences, without a reward model (Rafailov et al., 2023)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from folio.config import NonNegative, Positive, Settings, from_table
from folio.data.preferences import Pair, tokenize_pairs
from folio.errors import UserError
from folio.model.gpt import GPT
from folio.objectives.dpo import dpo_loss
from folio.tokenizer.protocol import Tokenizer
from folio.training.loop import StepReport
from folio.training.optimizer import OptimizerConfig
from folio.training.pairs import PairsConfig, pairs_task
from folio.training.task import Task


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


def dpo_task(model: GPT, reference: GPT, pairs: Sequence[Pair], pad_id: int, config: DPOConfig) -> Task:
    """Return the task of training a policy on pairs, near to a frozen reference."""
    loss = partial(dpo_loss, reference=reference, beta=config.beta, nll_coef=config.nll_coef)
    return pairs_task(model, pairs, pad_id, loss, config.pairs, config.optimizer)


def dpo(
    model: GPT,
    tokenizer: Tokenizer,
    preferences: Sequence[Mapping[str, Any]],
    *,
    reference: GPT | None = None,
    config: DPOConfig | None = None,
    **settings: Any,
) -> Iterator[StepReport]:
    """Train a policy on preferences by DPO, yielding a report after each optimizer step.

    Args:
        model: changed in place. A model without dropout: margins compare it with its reference.
        tokenizer: must have the tokens of the chat template (`folio.add_chat_tokens`).
        preferences: as for `folio.reward`.
        reference: the model to stay near to; by default a copy of `model` as it is now.
        config: all settings at once.
        settings: any setting of `DPOConfig` or its parts by name, such as `beta=0.05`; it overrides that of `config`.

    Raises:
        UserError: for a row that is no preference, a character that the tokenizer does not know, or an unknown setting.
    """
    config = from_table(DPOConfig, settings, "dpo", config)
    if model.config.dropout:
        raise UserError(f"the model has dropout {model.config.dropout}: load it with dropout=0.0.")
    pairs = tokenize_pairs(preferences, tokenizer, model.config.block_size)
    frozen = copy.deepcopy(model).requires_grad_(False) if reference is None else reference
    return dpo_task(model, frozen.eval(), pairs, tokenizer.special_ids["<|pad|>"], config).reports()
