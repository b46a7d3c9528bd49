"""Direct preference optimization (Rafailov et al., 2023): preferences without a reward model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from folio.batch import Completions, Loss
from folio.model.gpt import GPT
from folio.objectives.logprobs import token_logprobs
from folio.objectives.reward import _sums


def dpo_loss(model: nn.Module, batch: Completions, *, reference: GPT, beta: float, nll_coef: float) -> Loss:
    """The loss of a batch of pairs."""
    chosen, rejected = completion_logprobs(model, batch).chunk(2)
    with torch.no_grad():
        ref_chosen, ref_rejected = completion_logprobs(reference, batch).chunk(2)
    lengths = batch.mask.sum(1).chunk(2)[0]
    return with_nll(
        dpo_pair_loss(chosen, rejected, ref_chosen, ref_rejected, beta), chosen, lengths, nll_coef
    )


def dpo_margins(model: nn.Module, batch: Completions, *, reference: GPT, beta: float) -> Tensor:
    """By how much the implied reward of each chosen answer is higher."""
    gained = beta * (completion_logprobs(model, batch) - completion_logprobs(reference, batch))
    chosen, rejected = gained.chunk(2)
    return chosen - rejected


def dpo_pair_loss(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, beta: float
) -> Loss:
    """Direct preference optimization (Rafailov et al., 2023, equation 7): Bradley-Terry in which a completion's
    reward is beta times how much likelier the policy finds it than the reference does.

    All four: (B), log-probability of each completion, summed over its tokens, given its prompt. The count is B.
    margin, chosen_reward and rejected_reward are those implied rewards.
    """
    chosen_reward, rejected_reward = beta * (chosen - ref_chosen), beta * (rejected - ref_rejected)
    margins = (chosen_reward - rejected_reward).float()
    return Loss(
        total=-F.logsigmoid(margins).sum(),
        count=torch.tensor(float(len(margins))),
        metrics=_sums(margins)
        | {
            "chosen_reward": chosen_reward.detach().sum(),
            "rejected_reward": rejected_reward.detach().sum(),
        },
    )


def with_nll(loss: Loss, chosen: Tensor, lengths: Tensor, coef: float) -> Loss:
    """A loss of pairs plus coef times -ln p a token of the chosen completions (Pang et al., 2024, equation 1).

    A comparison alone may make both completions less likely, as long as the rejected one falls further. chosen: (B),
    log-probability of each chosen completion, summed over its tokens; lengths: (B), how many these are. Metric: nll.
    """
    nll = -(chosen / lengths).sum()
    return Loss(loss.total + coef * nll, loss.count, {**loss.metrics, "nll": nll.detach()})


def completion_logprobs(model: nn.Module, batch: Completions) -> Tensor:
    """ln p of each completion given its prompt, summed over its tokens, `<|end|>` too. model: ids -> logits. (B)."""
    logprobs = token_logprobs(model(batch.ids[:, :-1]), batch.ids[:, 1:])  # (B, T - 1)
    return (logprobs * batch.mask[:, 1:]).sum(dim=1)
