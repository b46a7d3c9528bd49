"""Loss over a whole validation split."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from folio.batch import Batch
from folio.objectives.next_token import next_token_loss


@dataclass(frozen=True)
class ValidationLoss:
    """nats: mean cross-entropy per target. n_targets: how many targets that is the mean of."""

    nats: float
    n_targets: int

    def bits_per_byte(self, n_bytes: int) -> float:
        """The same in bits for each of the n_bytes of UTF-8 that the targets spell: it compares tokenizers."""
        return self.nats * self.n_targets / math.log(2) / n_bytes


@torch.inference_mode()
def validation_loss(model: nn.Module, batches: Iterable[Batch]) -> ValidationLoss:
    """Mean next-token loss over all of `batches`, with dropout off. model: ids (B, T) -> logits (B, T, V).

    Compiled blocks run eagerly here: another compilation, for a graph without gradients, costs more time
    than it saves in the few evaluations of a run.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    total, count = 0.0, 0.0
    with torch.compiler.set_stance("force_eager"):
        for batch in batches:
            loss = next_token_loss(model, batch.to(device))
            total += loss.total.item()
            count += loss.count.item()
    model.train(was_training)
    return ValidationLoss(nats=total / count, n_targets=round(count))
