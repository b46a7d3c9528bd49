"""The loss of a reward model, which learns from pairs of completions of which one is preferred.

A batch of pairs holds first all chosen completions, then all rejected ones, in the same order.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from folio.batch import Completions, Loss


def reward_loss(model: nn.Module, batch: Completions) -> Loss:
    """Return the Bradley-Terry loss of a reward model on a batch of pairs; the count is the number of pairs.

    model: ids (B, T) -> scores (B, T).
    """
    chosen, rejected = completion_scores(model, batch).chunk(2)
    return bradley_terry_loss(chosen, rejected)


def bradley_terry_loss(chosen: Tensor, rejected: Tensor) -> Loss:
    """Return the sum of -ln sigmoid(r_chosen - r_rejected) (Bradley & Terry, 1952; Ouyang et al., 2022, equation 1).

    chosen, rejected: (B) rewards. The count is B; the metrics are those of `margin_metrics`.
    """
    margins = (chosen - rejected).float()
    return Loss(
        total=-F.logsigmoid(margins).sum(),
        count=torch.tensor(float(len(margins))),
        metrics=margin_metrics(margins),
    )


def margin_metrics(margins: Tensor) -> dict[str, Tensor]:
    """Return sums over pairs: accuracy, 1 where the chosen reward is higher and 0.5 in a tie, and margin.

    margins: (B), reward of the chosen minus that of the rejected completion.
    """
    wins = (margins > 0).float() + 0.5 * (margins == 0).float()
    return {"accuracy": wins.sum(), "margin": margins.detach().sum()}


def reward_margins(model: nn.Module, batch: Completions) -> Tensor:
    """Return the score of each chosen answer minus that of its rejected one: (B). batch: all chosen, then all rejected."""
    chosen, rejected = completion_scores(model, batch).chunk(2)
    return chosen - rejected


def completion_scores(model: nn.Module, batch: Completions) -> Tensor:
    """Return each text's score, read at the last token of its completion: (B).

    model: ids (B, T) -> scores (B, T).
    """
    scores: Tensor = model(batch.ids)
    return scores.gather(1, batch.last[:, None])[:, 0]
