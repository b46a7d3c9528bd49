"""The loss of direct preference optimization (Rafailov et al., 2023): preferences without a reward model.

A batch of pairs holds first all chosen completions, then all rejected ones, in the same order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from folio.batch import Completions, Loss
from folio.model.gpt import GPT
from folio.objectives.logprobs import completion_logprobs
from folio.objectives.reward import bradley_terry_loss


def dpo_loss(
    model: nn.Module, batch: Completions, *, reference: GPT, beta: float, nll_coef: float = 0.0
) -> Loss:
    """Return the DPO loss of a batch of pairs, plus nll_coef times the -ln p per token of the chosen completions.

    The second term is that of Pang et al. (2024, equation 1): a comparison alone may make both completions less
    likely, as long as the rejected one falls further. model: ids -> logits. The count is the number of pairs.
    Metrics: those of `implied_reward_loss`, and nll.
    """
    chosen, rejected = completion_logprobs(model, batch).chunk(2)
    with torch.no_grad():
        ref_chosen, ref_rejected = completion_logprobs(reference, batch).chunk(2)
    loss = implied_reward_loss(chosen, rejected, ref_chosen, ref_rejected, beta)
    lengths = batch.mask.sum(1).chunk(2)[0]
    nll = -(chosen / lengths).sum()
    return Loss(loss.total + nll_coef * nll, loss.count, {**loss.metrics, "nll": nll.detach()})


def implied_reward_loss(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, beta: float
) -> Loss:
    """Return the Bradley-Terry loss of the rewards that DPO implies (Rafailov et al., 2023, equation 7).

    A completion's implied reward is beta times the difference of its log-probabilities under policy and reference.
    All tensors: (B), log-probability of each completion given its prompt. The count is B. Metrics: those of
    `bradley_terry_loss`, chosen_reward and rejected_reward.
    """
    chosen_reward, rejected_reward = beta * (chosen - ref_chosen), beta * (rejected - ref_rejected)
    loss = bradley_terry_loss(chosen_reward, rejected_reward)
    rewards = {
        "chosen_reward": chosen_reward.detach().sum(),
        "rejected_reward": rejected_reward.detach().sum(),
    }
    return Loss(loss.total, loss.count, {**loss.metrics, **rewards})


def implied_margins(model: nn.Module, batch: Completions, *, reference: GPT, beta: float) -> Tensor:
    """Return by how much the implied reward of each chosen completion exceeds that of the rejected one: (B)."""
    rewards = beta * (completion_logprobs(model, batch) - completion_logprobs(reference, batch))
    chosen, rejected = rewards.chunk(2)
    return chosen - rejected
