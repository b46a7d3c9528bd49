"""Proximal policy optimization (Schulman et al., 2017): the clipped losses of policy and value."""

from __future__ import annotations

import torch
from torch import Tensor

from folio.batch import Loss

LOG_RATIO_LIMIT = 10.0
"""Beyond e^10 a ratio says only that something is wrong, and its square would overflow."""


def log_ratios(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """ln of how much likelier the policy makes each token than the one that sampled it: (B, T), kept within limits."""
    return (logprobs - old_logprobs).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip_range: float
) -> Loss:
    """-min(ratio A, clip(ratio, 1 - e, 1 + e) A) for each token (equation 7).

    All but clip_range: (B, T); mask is 1 where a token was sampled and counts. The count is the mask's sum.
    Metrics: ratio (1 on the first pass, or something is wrong); approx_kl, the k3 estimate of KL(old || new)
    (Schulman, 2020, "Approximating KL divergence"); clip_fraction, where clipping changed the loss.
    """
    log_ratio = log_ratios(logprobs, old_logprobs)
    ratio = log_ratio.exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip_range, 1 + clip_range)
    return Loss(
        total=(torch.maximum(unclipped, clipped) * mask).sum(),
        count=mask.sum(),
        metrics={
            "ratio": (ratio * mask).sum().detach(),
            "approx_kl": ((ratio - 1 - log_ratio) * mask).sum().detach(),
            "clip_fraction": ((clipped > unclipped).float() * mask).sum(),
        },
    )


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip_range: float) -> Loss:
    """Half the larger of two squared errors: of the value, and of the value held near what it was.

    All but clip_range: (B, T). The count is the mask's sum. value_clip_fraction: where holding it changed the loss.
    """
    held = old_values + (values - old_values).clamp(-clip_range, clip_range)
    unclipped, clipped = (values - returns) ** 2, (held - returns) ** 2
    return Loss(
        total=0.5 * (torch.maximum(unclipped, clipped) * mask).sum(),
        count=mask.sum(),
        metrics={"value_clip_fraction": ((clipped > unclipped).float() * mask).sum()},
    )
