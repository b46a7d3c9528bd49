"""Group relative policy optimization (Shao et al., 2024): PPO's clipped loss without a value, KL as a loss of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from folio.batch import Completions, Loss
from folio.model.gpt import GPT
from folio.model.shared_prefix import Branches
from folio.objectives.logprobs import entropy, token_logprobs
from folio.objectives.ppo import LOG_RATIO_LIMIT, policy_loss


def kl_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """An estimate of KL(policy || reference) at each sampled token: r - 1 - ln r, where r is reference over policy.

    Never negative, and its gradient pulls towards the reference where the tokens come from the policy (Schulman,
    2020; Shao et al., equation 4). Both: (B, T).
    """
    # Only from above, where it would overflow: far below, the pull towards the reference must not end.
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
    """The clipped policy loss plus kl_coef times the KL to the reference, summed over tokens.

    All tensors: of one shape, such as (B, T); mask is 1 where a token was sampled and counts. The count is the mask's
    sum, over the whole step: every token weighs the same, however long its completion (as in DAPO, Yu et al., 2025;
    the paper's mean per completion makes wrong long answers cheap, as Liu et al., 2025, show).
    """
    loss = policy_loss(logprobs, old_logprobs, advantages, mask, clip_range)
    kl = (kl_k3(logprobs, ref_logprobs) * mask).sum()
    return Loss(loss.total + kl_coef * kl, loss.count, {**loss.metrics, "kl_loss": kl.detach()})


@dataclass(frozen=True)
class GRPOBatch(Completions):
    """Groups of answers. What belongs to a token stands where it is predicted: (B, T - 1), the first token being given.

    old_logprobs, ref_logprobs: in nats, under the policy that drew the token, and under the reference. advantages: the
    same for all tokens of an answer.
    """

    old_logprobs: Tensor
    ref_logprobs: Tensor
    advantages: Tensor


def grpo_loss(model: GPT, batch: GRPOBatch, *, clip_range: float, kl_coef: float, temperature: float) -> Loss:
    """`clipped_loss_with_kl` of a policy, which reads a prompt once for all its answers in the batch.

    Further metric: its entropy in nats a token.
    """
    is_sampled = batch.mask[:, 1:].bool()
    branches = Branches.of(batch)
    logits = model.head(branches.read(model))  # (M, V)
    loss = clipped_loss_with_kl(
        token_logprobs(logits, branches.targets, temperature),
        batch.old_logprobs[is_sampled],
        batch.ref_logprobs[is_sampled],
        batch.advantages[is_sampled],
        torch.ones(len(logits), device=logits.device),
        clip_range=clip_range,
        kl_coef=kl_coef,
    )
    metrics = {**loss.metrics, "entropy": entropy(logits.detach(), temperature).sum()}
    return Loss(loss.total, loss.count, metrics)
