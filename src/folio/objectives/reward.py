"""Losses over pairs of which one is preferred: for a reward model, and for a policy without one.

A batch of pairs holds first all chosen answers, then all rejected ones, in the same order.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from folio.batch import Completions, Loss


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


def scores(model: nn.Module, batch: Completions) -> Tensor:
    """What a reward model gives each text: read at the last token of the completion, never at padding.

    model: ids (B, T) -> (B, T). Returns (B).
    """
    every: Tensor = model(batch.ids)
    return every.gather(1, batch.last[:, None])[:, 0]


def reward_loss(model: nn.Module, batch: Completions) -> Loss:
    """Bradley-Terry on the scores of a batch of pairs."""
    chosen, rejected = scores(model, batch).chunk(2)
    return bradley_terry_loss(chosen, rejected)


def _sums(margins: Tensor) -> dict[str, Tensor]:
    wins = (margins > 0).float() + 0.5 * (margins == 0).float()
    return {"accuracy": wins.sum(), "margin": margins.detach().sum()}
