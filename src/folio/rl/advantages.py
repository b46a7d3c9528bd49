"""Advantages: how much better than expected each token, or each completion, turned out."""

from __future__ import annotations

import torch
from torch import Tensor


def whiten(values: Tensor, mask: Tensor, *, mean: float | None = 0.0) -> Tensor:
    """Scale to a standard deviation of 1 over what the mask counts, and shift the mean to `mean`, or keep it (None).

    Advantages are shifted to 0; rewards keep their mean, or a bad batch would look like a good one (Huang et al., 2024,
    "The N implementation details of RLHF with PPO"). values, mask: of one shape. Masked values become 0.
    """
    count = mask.sum().clamp(min=1)
    average = (values * mask).sum() / count
    variance = (((values - average) ** 2) * mask).sum() / count
    scaled = (values - average) * torch.rsqrt(variance + 1e-8) + (average if mean is None else mean)
    return scaled * mask


def token_rewards(
    scores: Tensor, logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, kl_coef: float
) -> Tensor:
    """Return the reward of each token: -kl_coef (ln policy - ln reference), plus the score on the last one.

    The difference is k1, the plain estimate of the KL, which is unbiased as a part of the reward. scores: (B); the
    others (B, T), where mask is 1 for sampled tokens, which are contiguous. Returns (B, T).
    """
    rewards = -kl_coef * (logprobs - ref_logprobs) * mask
    columns = torch.arange(mask.shape[1], device=mask.device)
    last = (mask * columns).argmax(dim=1)  # the last column that counts
    rewards[torch.arange(len(scores), device=mask.device), last] += scores
    return rewards


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Return advantages by generalized advantage estimation (Schulman et al., 2016, equation 16), and returns.

    A_t = d_t + gamma lambda A_t+1 with d_t = r_t + gamma V_t+1 - V_t; the value after a completion's last token is 0.
    Returns are advantages + values, the targets of the critic. rewards, values, mask: (B, T), mask 1 for sampled tokens,
    which are contiguous. Both results: (B, T), 0 where masked.
    """
    advantages = torch.zeros_like(rewards)
    ahead = torch.zeros_like(rewards[:, 0])
    next_values = torch.zeros_like(ahead)
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_values - values[:, t]
        ahead = (delta + gamma * gae_lambda * ahead) * mask[:, t]
        advantages[:, t] = ahead
        next_values = values[:, t] * mask[:, t]
    return advantages, (advantages + values) * mask


def group_advantages(scores: Tensor, group_size: int) -> Tensor:
    """Return each score minus the mean of its group (Shao et al., 2024, less their division by the deviation).

    A group is the completions of one prompt, side by side. scores: (B), B a multiple of group_size. Returns (B). Raises
    ValueError for groups of one.
    """
    if group_size < 2:
        raise ValueError(f"group_size is {group_size}: a completion must be compared with another.")
    groups = scores.view(-1, group_size)
    # A rounded mean of equal scores would leave a difference, which scaling by the deviation would blow up.
    differs = groups.amax(dim=1, keepdim=True) > groups.amin(dim=1, keepdim=True)
    return ((groups - groups.mean(dim=1, keepdim=True)) * differs).flatten()


def scale_by_group_std(advantages: Tensor, group_size: int) -> Tensor:
    """Divide advantages by the standard deviation of their group, as in the paper (Shao et al., 2024).

    This favors prompts that are nearly always or nearly never solved (Liu et al., 2025). advantages: (B). Returns (B).
    """
    groups = advantages.view(-1, group_size)
    return (groups / (groups.std(dim=1, keepdim=True) + 1e-6)).flatten()
