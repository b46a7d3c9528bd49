"""The loss of group relative policy optimization (Shao et al., 2024): PPO's clipped policy loss, and KL as a loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from folio.batch import Completions, Loss
from folio.model.gpt import GPT
from folio.model.shared_prefix import SharedPrefixBatch
from folio.objectives.logprobs import sampled_logprobs
from folio.objectives.ppo import LOG_RATIO_LIMIT, policy_loss


def kl_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Return the k3 estimate of KL(policy || reference) at each sampled token: r - 1 - ln r, r = reference / policy.

    It is never negative, and its gradient pulls toward the reference where the tokens come from the policy (Schulman,
    2020; Shao et al., 2024, equation 4). logprobs, ref_logprobs, result: (B, T).
    """
    # Clamped only from above, where exp would overflow: far below, the pull toward the reference must not end.
    log_ratio = (ref_logprobs - logprobs).clamp(max=LOG_RATIO_LIMIT)
    return log_ratio.exp() - 1 - log_ratio


def clipped_loss_with_kl(
    logprobs: Tensor,
    old_logprobs: Tensor,
    ref_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_range: float,
    kl_coef: float,
) -> Loss:
    """Return the clipped policy loss plus kl_coef times the KL to the reference, summed over tokens.

    All tensors: of one shape, such as (B, T); mask is 1 where a token was sampled. The count is the mask's sum, so that
    every token weighs the same, however long its completion (as in DAPO, Yu et al., 2025). The paper's mean over each
    completion makes long wrong answers cheap (Liu et al., 2025). Metrics: those of `policy_loss`, and kl_loss.
    """
    loss = policy_loss(logprobs, old_logprobs, advantages, mask, clip_range)
    kl = (kl_k3(logprobs, ref_logprobs) * mask).sum()
    return Loss(loss.total + kl_coef * kl, loss.count, {**loss.metrics, "kl_loss": kl.detach()})


@dataclass(frozen=True)
class GRPOBatch(Completions):
    """Completions in groups, and for each predicted token, (B, T - 1):

    old_logprobs: in nats, under the policy that sampled the token. ref_logprobs: under the reference. advantages: the
    same for all tokens of a completion.
    """

    old_logprobs: Tensor
    ref_logprobs: Tensor
    advantages: Tensor


def grpo_loss(model: GPT, batch: GRPOBatch, *, clip_range: float, kl_coef: float, temperature: float) -> Loss:
    """Return `clipped_loss_with_kl` of a policy. Each prompt is read once for all its completions in the batch.

    Further metric: entropy of the policy, in nats per token.
    """
    is_sampled = batch.mask[:, 1:].bool()
    shared = SharedPrefixBatch.from_completions(batch)
    logprobs, entropies = sampled_logprobs(model, shared.hidden_states(model), shared.targets, temperature)
    loss = clipped_loss_with_kl(
        logprobs,
        batch.old_logprobs[is_sampled],
        batch.ref_logprobs[is_sampled],
        batch.advantages[is_sampled],
        torch.ones_like(logprobs),
        clip_range=clip_range,
        kl_coef=kl_coef,
    )
    metrics = {**loss.metrics, "entropy": entropies.sum()}
    return Loss(loss.total, loss.count, metrics)
