"""Log-probabilities of given tokens, from which all losses over completions are built."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from folio.batch import Completions


def token_logprobs(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """Return ln p of each target in nats, under softmax(logits / temperature).

    The policy, its reference and every update must divide by the same temperature, or ratios compare different
    distributions. logits: (..., V); targets: (...) int64. Returns (...) float32.
    """
    logits = logits.float() / temperature
    return -F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none").view_as(targets)


def completion_logprobs(model: nn.Module, batch: Completions) -> Tensor:
    """Return ln p of each completion given its prompt, summed over its tokens (`<|end|>` included): (B).

    model: ids (B, T) -> logits (B, T, V).
    """
    logprobs = token_logprobs(model(batch.ids[:, :-1]), batch.ids[:, 1:])  # (B, T - 1)
    return (logprobs * batch.mask[:, 1:]).sum(dim=1)


def entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the entropy -sum p ln p of softmax(logits / temperature) in nats: (..., V) -> (...) float32."""
    logprobs = F.log_softmax(logits.float() / temperature, dim=-1)
    return -(logprobs.exp() * logprobs).sum(dim=-1)
