"""Next-token prediction: the loss of pretraining, and of fine-tuning with weights on the answers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from folio.batch import Batch, Loss
from folio.model.context import SegmentContext


def next_token_loss(model: nn.Module, batch: Batch) -> Loss:
    """Return the weighted sum of -ln p(target) in nats; the count is the sum of the weights.

    model: ids (B, T) -> logits (B, T, V), also in a `SegmentContext` where rows of the batch hold several texts. Softmax
    and sum are in float32, whatever the model computes in.
    """
    segments = batch.segments
    logits = model(batch.ids) if segments is None else model(batch.ids, SegmentContext(segments))  # (B, T, V)
    losses = F.cross_entropy(
        logits.float().flatten(0, 1), batch.targets.flatten(), reduction="none"
    )  # (B * T)
    return Loss(total=losses @ batch.weights.flatten(), count=batch.weights.sum())
