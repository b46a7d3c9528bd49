"""Proximal policy optimization (Schulman et al., 2017): the clipped losses of policy and value."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from folio.batch import Completions, Loss
from folio.model.score import ActorCritic
from folio.model.shared_prefix import Branches
from folio.objectives.logprobs import entropy, token_logprobs

LOG_RATIO_LIMIT = 10.0
"""Beyond e^10 a ratio says only that something is wrong, and its square would overflow."""


def log_ratios(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """ln of how much likelier the policy makes each token than the one that sampled it: (B, T), kept within limits."""
    return (logprobs - old_logprobs).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip_range: float
) -> Loss:
    """-min(ratio A, clip(ratio, 1 - e, 1 + e) A) for each token (equation 7).

    All but clip_range: of one shape, such as (B, T); mask is 1 where a token was sampled and counts. The count is the
    mask's sum. Metrics: ratio (1 on the first pass, or something is wrong); approx_kl, the k3 estimate of
    KL(old || new) (Schulman, 2020, "Approximating KL divergence"); clip_fraction, where clipping changed the loss.
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

    All but clip_range: of one shape, such as (B, T). The count is the mask's sum. value_clip_fraction: where holding it
    changed the loss.
    """
    held = old_values + (values - old_values).clamp(-clip_range, clip_range)
    unclipped, clipped = (values - returns) ** 2, (held - returns) ** 2
    return Loss(
        total=0.5 * (torch.maximum(unclipped, clipped) * mask).sum(),
        count=mask.sum(),
        metrics={"value_clip_fraction": ((clipped > unclipped).float() * mask).sum()},
    )


@dataclass(frozen=True)
class PPOBatch(Completions):
    """A rollout. What belongs to a token stands where it is predicted: (B, T - 1), the first token being given.

    old_logprobs: in nats, under the policy that drew the token. old_values: what the critic expected before it.
    advantages: whitened. returns: what the critic should have expected.
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
    """Policy loss plus vf_coef times the value loss (equation 9, without its entropy bonus), of the sampled tokens. A
    prompt is read once for all its answers in the batch.

    One mask serves both, for the stop token is sampled like any other: the reward is on it, and nothing comes after.
    Metrics, besides those of the two losses: policy_loss, value_loss, and entropy of the policy in nats a token.
    """
    is_sampled = batch.mask[:, 1:].bool()
    old_logprobs, old_values, advantages, returns = (
        each[is_sampled]  # (B, T - 1) -> (M)
        for each in (batch.old_logprobs, batch.old_values, batch.advantages, batch.returns)
    )
    branches = Branches.of(batch)
    logits = model.policy.head(branches.read(model.policy))  # (M, V)
    logprobs = token_logprobs(logits, branches.targets, temperature)
    values = model.critic.scores(branches.read(model.critic))
    mask = torch.ones_like(values)
    policy = policy_loss(logprobs, old_logprobs, advantages, mask, clip_range)
    value = value_loss(values, old_values, returns, mask, value_clip_range)
    return Loss(
        total=policy.total + vf_coef * value.total,
        count=policy.count,
        metrics={
            "policy_loss": policy.total.detach(),
            "value_loss": value.total.detach(),
            "entropy": entropy(logits.detach(), temperature).sum(),
            **policy.metrics,
            **value.metrics,
        },
    )
