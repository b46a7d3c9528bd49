"""Log-probabilities of given tokens: what all losses over completions are made of."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def token_logprobs(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """ln p of each target in nats, under the distribution that is sampled from: logits / temperature, then softmax.

    The policy, its reference and every update must divide by the same temperature, or ratios compare different
    distributions. logits: (..., V); targets: (...) int64. Returns (...) float32.
    """
    logits = logits.float() / temperature
    return -F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none").view_as(targets)


def entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """-sum p ln p in nats: how undecided each position is. logits: (..., V). Returns (...) float32."""
    logprobs = F.log_softmax(logits.float() / temperature, dim=-1)
    return -(logprobs.exp() * logprobs).sum(dim=-1)
