"""Supervised fine-tuning: next-token loss on the assistant's turns of conversations."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le

from folio.config import Many, Positive, Seed, Settings, from_table
from folio.data.conversations import PackedConversations, PackedRow, packed_rows
from folio.errors import FolioWarning
from folio.model.gpt import GPT
from folio.objectives.next_token import next_token_loss
from folio.tokenizer.protocol import Tokenizer
from folio.training.loop import Accumulated, StepReport
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.schedule import ScheduleConfig
from folio.training.task import Task


@dataclass(frozen=True, kw_only=True)
class SFTConfig(Settings):
    """Settings of supervised fine-tuning."""

    epochs: Positive = 1.0
    """Passes over the conversations."""
    block_size: Annotated[int, Ge(2), Le(2**20)] | None = None
    """Tokens at most in a row, and so in a conversation; by default the model's context. Fewer need less memory."""
    micro_batch_size: Many = 8
    """Rows per forward pass; each optimizer step is one of them."""
    seed: Seed = 1
    """Seed of the order of the conversations, and of dropout."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=0.005, embedding_learning_rate=0.005, head_learning_rate=0.001
        )
    )
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(decay_fraction=1.0))

    def row_size(self, model: GPT) -> int:
        """Return the tokens in a row for this model, at most its context. Warns where more are asked for."""
        context = model.config.block_size
        if self.block_size is not None and self.block_size > context:
            warnings.warn(
                f"block_size is {self.block_size:,}, and the model's context {context:,} tokens: that is what a row gets.",
                FolioWarning,
                stacklevel=2,
            )
        return min(self.block_size or context, context)

    def steps(self, n_rows: int) -> int:
        """Return the optimizer steps for so many rows."""
        return max(1, round(self.epochs * n_rows / self.micro_batch_size))


def sft_task(model: GPT, rows: Sequence[PackedRow], config: SFTConfig) -> Task:
    """Return the task of fine-tuning `model` on packed rows (see `pack`)."""
    source = PackedConversations(rows, batch_size=config.micro_batch_size, seed=config.seed)
    return Task(
        model=model,
        source=Accumulated(source, 1),
        loss_function=next_token_loss,
        optimizers=build_optimizers(model, config.optimizer),
        steps=config.steps(len(rows)),
        schedule=config.schedule,
        max_norm=config.optimizer.max_norm,
    )


def sft(
    model: GPT,
    tokenizer: Tokenizer,
    conversations: Sequence[Mapping[str, Any]],
    *,
    config: SFTConfig | None = None,
    **settings: Any,
) -> Iterator[StepReport]:
    """Fine-tune a model on conversations, yielding a report after each optimizer step.

    Args:
        model: changed in place.
        tokenizer: must have the tokens of the chat template (`folio.add_chat_tokens`).
        conversations: rows such as `{"messages": [{"role": "user", "content": ...}, ...]}` or `{"prompt": ...,
            "completion": ...}`. Those whose first answer lies beyond the model's context are left out, with a warning.
        config: all settings at once.
        settings: any setting of `SFTConfig` or its parts by name, such as `epochs=2` or `learning_rate=0.01`; it
            overrides that of `config`.

    Dropout, where the model has it, draws from torch's global random state, which is then set to the seed.

    Raises:
        UserError: for a row that is no conversation, a character that the tokenizer does not know, or an unknown setting.
    """
    config = from_table(SFTConfig, settings, "sft", config)
    rows = packed_rows(conversations, tokenizer, config.row_size(model))
    if model.config.dropout:
        torch.manual_seed(config.seed)
    return sft_task(model, rows, config).reports()
