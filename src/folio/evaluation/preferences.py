"""How well a model tells the better of two answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from folio.batch import Completions
from folio.model.mode import evaluating

N_BINS = 10


@dataclass(frozen=True)
class HeldOutPairs:
    """Pairs that no step learns from. margins: of a model and a batch, by how much it prefers each chosen answer (B)."""

    batches: Sequence[Completions]
    margins: Callable[[Any, Completions], Tensor]

    @torch.inference_mode()
    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Figures over all pairs with dropout off; `preference_metrics` says which."""
        device = next(model.parameters()).device
        with evaluating(model):
            margins = torch.cat([self.margins(model, batch.to(device)).float() for batch in self.batches])
        return {f"val_{name}": value for name, value in preference_metrics(margins).items()}


def preference_metrics(margins: Tensor) -> dict[str, float]:
    """loss: -ln sigmoid(margin), the Bradley-Terry loss; accuracy: share of positive margins, ties counting half;
    margin: their mean; calibration_error: see there. margins: (N) of the chosen over the rejected answers.
    """
    wins = (margins > 0).float() + 0.5 * (margins == 0).float()
    return {
        "loss": -F.logsigmoid(margins).mean().item(),
        "accuracy": wins.mean().item(),
        "margin": margins.mean().item(),
        "calibration_error": calibration_error(torch.sigmoid(margins.abs()), wins),
    }


def calibration_error(confidences: Tensor, hits: Tensor) -> float:
    """How far a judge's confidence is from how often it is right: the mean over bins, weighted by what is in them
    (expected calibration error; Guo et al., 2017). confidences: (N) in 0.5..1; hits: (N), 1 where it was right.
    """
    bins = ((confidences - 0.5) * 2 * N_BINS).long().clamp(0, N_BINS - 1)
    gaps = torch.zeros(N_BINS, device=bins.device).index_add(0, bins, confidences - hits)
    return (gaps.abs().sum() / len(bins)).item()


def longer_wins(lengths: Sequence[tuple[int, int]]) -> float:
    """Accuracy of a judge who sees only lengths, (chosen, rejected): what a reward model has to beat."""
    return sum((chosen > rejected) + 0.5 * (chosen == rejected) for chosen, rejected in lengths) / len(
        lengths
    )
