"""How much better than expected each token, or each completion, turned out."""

from __future__ import annotations

import torch
from torch import Tensor


def whiten(values: Tensor, mask: Tensor, *, mean: float | None = 0.0) -> Tensor:
    """Scale to a standard deviation of 1 over what the mask counts, and bring the mean to `mean`, or leave it (None).

    Advantages lose their mean; rewards keep theirs, or a bad batch would look like a good one (Huang et al., 2024,
    "The N implementation details of RLHF with PPO"). values, mask: of one shape. What is masked becomes 0.
    """
    count = mask.sum().clamp(min=1)
    average = (values * mask).sum() / count
    variance = (((values - average) ** 2) * mask).sum() / count
    scaled = (values - average) * torch.rsqrt(variance + 1e-8) + (average if mean is None else mean)
    return scaled * mask


def token_rewards(
    scores: Tensor, logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, kl_coef: float
) -> Tensor:
    """The reward of each token: -kl_coef (ln policy - ln reference), and the completion's score on its last one.

    That difference is k1, the plain estimate of the KL, which has no bias when it is part of the reward.
    scores: (B); the others (B, T), where mask is 1 for sampled tokens, in one stretch. Returns (B, T).
    """
    rewards = -kl_coef * (logprobs - ref_logprobs) * mask
    columns = torch.arange(mask.shape[1], device=mask.device)
    last = (mask * columns).argmax(dim=1)  # the last column that counts
    rewards[torch.arange(len(scores), device=mask.device), last] += scores
    return rewards


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al., 2016, equation 16), and the returns that values learn.

    A_t = d_t + gamma lambda A_t+1 with d_t = r_t + gamma V_t+1 - V_t. A completion ends with its last token: the
    value after it is 0. rewards, values, mask: (B, T), mask 1 for sampled tokens in one stretch. Returns advantages
    and returns = advantages + values, (B, T) each, 0 where masked.
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


def group_advantages(scores: Tensor, group_size: int, *, scale: bool) -> Tensor:
    """Each score minus the mean of its group, and divided by the group's standard deviation if `scale`.

    Groups are the completions of one prompt, side by side. Dividing favours prompts that are nearly always or nearly
    never solved (Liu et al., 2025). Where all scores are equal, the advantages are 0. scores: (B), B a multiple of
    group_size.
    """
    if group_size < 2:
        raise ValueError("a completion alone has nothing to be compared with")
    groups = scores.view(-1, group_size)
    differs = groups.amax(dim=1, keepdim=True) > groups.amin(dim=1, keepdim=True)
    # Where all are equal, a mean that is not exact would leave a difference, and dividing would make it large.
    centred = (groups - groups.mean(dim=1, keepdim=True)) * differs
    if scale:
        centred = centred / (groups.std(dim=1, keepdim=True) + 1e-6)
    return centred.flatten()
