"""Losses over pairs of which one is preferred: for a reward model, and for a policy without one.

A batch of pairs holds first all chosen answers, then all rejected ones, in the same order.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from folio.batch import Completions, Loss
from folio.objectives.logprobs import token_logprobs


def bradley_terry_loss(chosen: Tensor, rejected: Tensor) -> Loss:
    """-ln sigmoid(r_chosen - r_rejected): the chance that the better one wins (Bradley & Terry, 1952; Ouyang et
    al., 2022, equation 1).

    chosen, rejected: (B) rewards. The count is B. accuracy: share of pairs in which the chosen one has the higher
    reward, ties counting half; margin: r_chosen - r_rejected.
    """
    margins = (chosen - rejected).float()
    return Loss(
        total=-F.logsigmoid(margins).sum(),
        count=torch.tensor(float(len(margins))),
        metrics=_sums(margins),
    )


def dpo_loss(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, beta: float) -> Loss:
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


def scores(model: nn.Module, batch: Completions) -> Tensor:
    """What a reward model gives each text: read at the last token of the completion, never at padding.

    model: ids (B, T) -> (B, T). Returns (B).
    """
    every: Tensor = model(batch.ids)
    return every.gather(1, batch.last[:, None])[:, 0]


def completion_logprobs(model: nn.Module, batch: Completions) -> Tensor:
    """ln p of each completion given its prompt, summed over its tokens, `<|end|>` too. model: ids -> logits. (B)."""
    logprobs = token_logprobs(model(batch.ids[:, :-1]), batch.ids[:, 1:])  # (B, T - 1)
    return (logprobs * batch.mask[:, 1:]).sum(dim=1)


def reward_loss(model: nn.Module, batch: Completions) -> Loss:
    """Bradley-Terry on the scores of a batch of pairs."""
    chosen, rejected = scores(model, batch).chunk(2)
    return bradley_terry_loss(chosen, rejected)


def _sums(margins: Tensor) -> dict[str, Tensor]:
    wins = (margins > 0).float() + 0.5 * (margins == 0).float()
    return {"accuracy": wins.sum(), "margin": margins.detach().sum()}
