"""Next-token prediction: the loss of pretraining, and of fine-tuning with weights on the answers."""

from __future__ import annotations

from torch import nn

from folio.batch import Batch, Loss
from folio.model.context import SegmentContext
from folio.objectives.logprobs import token_losses


def next_token_loss(model: nn.Module, batch: Batch) -> Loss:
    """Return the weighted sum of -ln p(target) in nats; the count is the sum of the weights.

    model: ids (B, T) -> logits (B, T, V), also in a `SegmentContext` where rows of the batch hold several texts. Softmax
    and sum are in float32, whatever the model computes in.
    """
    context = None if batch.segments is None else SegmentContext(batch.segments)
    losses = token_losses(model, batch.ids, batch.targets, context)  # (B, T)
    return Loss(total=losses.flatten() @ batch.weights.flatten(), count=batch.weights.sum())
