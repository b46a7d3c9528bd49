"""Next-token prediction: the loss of pretraining, and of fine-tuning with weights on the answers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from folio.batch import Batch, Loss


def next_token_loss(model: nn.Module, batch: Batch) -> Loss:
    """Weighted sum of -ln p(target) in nats.

    model: maps ids (B, T), with segments where the batch has them, to logits (B, T, V). Softmax and sum are in float32 whatever the model computes in.
    The count is the sum of the weights, so total / count is the cross-entropy per counted token.
    """
    logits = model(batch.ids, **batch.layout).float()  # (B, T, V)
    losses = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")  # (B * T)
    return Loss(total=losses @ batch.weights.flatten(), count=batch.weights.sum())
