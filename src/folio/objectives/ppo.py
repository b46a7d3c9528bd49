"""The loss of proximal policy optimization (Schulman et al., 2017): the clipped losses of policy and value."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from folio.batch import Completions, Loss
from folio.model.score import ActorCritic
from folio.model.shared_prefix import SharedPrefixBatch
from folio.objectives.logprobs import sampled_logprobs

LOG_RATIO_LIMIT = 10.0
"""Largest log-ratio: a larger one means that something is wrong, and its exponential could overflow."""


def log_ratios(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """Return ln(policy / old policy) of each token, clamped to LOG_RATIO_LIMIT. All: of one shape, such as (B, T)."""
    return (logprobs - old_logprobs).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip_range: float
) -> Loss:
    """Return the sum of -min(ratio A, clip(ratio, 1 - e, 1 + e) A) over tokens (equation 7), e being clip_range.

    All tensors: of one shape, such as (B, T); mask is 1 where a token was sampled. The count is the mask's sum.
    Metrics: ratio (1 in the first epoch, or something is wrong); approx_kl, the k3 estimate of KL(old || new)
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
    """Return half the larger of two squared errors, of the value and of the value clipped to old_values +- clip_range.

    All tensors: of one shape, such as (B, T). The count is the mask's sum. Metric: value_clip_fraction, where clipping
    changed the loss.
    """
    clipped_values = old_values + (values - old_values).clamp(-clip_range, clip_range)
    unclipped, clipped = (values - returns) ** 2, (clipped_values - returns) ** 2
    return Loss(
        total=0.5 * (torch.maximum(unclipped, clipped) * mask).sum(),
        count=mask.sum(),
        metrics={"value_clip_fraction": ((clipped > unclipped).float() * mask).sum()},
    )


@dataclass(frozen=True)
class PPOBatch(Completions):
    """Sampled completions, and for each predicted token, (B, T - 1):

    old_logprobs: in nats, under the policy that sampled the token. old_values: the critic's value before it.
    advantages: whitened. returns: the critic's target.
    """

    old_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor


def ppo_loss(
    model: ActorCritic,
    batch: PPOBatch,
    *,
    clip_range: float,
    value_clip_range: float,
    vf_coef: float,
    temperature: float,
) -> Loss:
    """Return the policy loss plus vf_coef times the value loss (equation 9, without its entropy bonus).

    Each prompt is read once for all its completions in the batch. One mask serves both losses, for the stop token is
    sampled like any other: the reward is on it, and nothing comes after. Metrics, besides those of the two losses:
    policy_loss, value_loss, and entropy of the policy in nats per token.
    """
    is_sampled = batch.mask[:, 1:].bool()
    old_logprobs, old_values, advantages, returns = (
        each[is_sampled]  # (B, T - 1) -> (M)
        for each in (batch.old_logprobs, batch.old_values, batch.advantages, batch.returns)
    )
    shared = SharedPrefixBatch.from_completions(batch)
    logprobs, entropies = sampled_logprobs(
        model.policy, shared.hidden_states(model.policy), shared.targets, temperature
    )
    values = model.critic.scores(shared.hidden_states(model.critic))
    mask = torch.ones_like(values)
    policy = policy_loss(logprobs, old_logprobs, advantages, mask, clip_range)
    value = value_loss(values, old_values, returns, mask, value_clip_range)
    return Loss(
        total=policy.total + vf_coef * value.total,
        count=policy.count,
        metrics={
            "policy_loss": policy.total.detach(),
            "value_loss": value.total.detach(),
            "entropy": entropies.sum(),
            **policy.metrics,
            **value.metrics,
        },
    )
