"""Evaluation of preferences: how often a model prefers the chosen answer, and how well calibrated it is."""

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
    """Evaluation on held-out pairs. margins: (model, batch) -> how much the model prefers each chosen answer (B)."""

    batches: Sequence[Completions]
    margins: Callable[[Any, Completions], Tensor]

    @torch.inference_mode()
    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Return `preference_metrics` over all pairs, with dropout off and names that begin with val_."""
        device = next(model.parameters()).device
        with evaluating(model):
            margins = torch.cat([self.margins(model, batch.to(device)).float() for batch in self.batches])
        return {f"val_{name}": value for name, value in preference_metrics(margins).items()}


def preference_metrics(margins: Tensor) -> dict[str, float]:
    """Return metrics of margins of chosen over rejected answers: (N) in nats.

    loss: mean of -ln sigmoid(margin), the Bradley-Terry loss; accuracy: share of positive margins, ties counting half;
    margin: the mean; calibration_error: that of sigmoid(|margin|).
    """
    wins = (margins > 0).float() + 0.5 * (margins == 0).float()
    return {
        "loss": -F.logsigmoid(margins).mean().item(),
        "accuracy": wins.mean().item(),
        "margin": margins.mean().item(),
        "calibration_error": calibration_error(torch.sigmoid(margins.abs()), wins),
    }


def calibration_error(confidences: Tensor, hits: Tensor) -> float:
    """Return the expected calibration error (Guo et al., 2017): the gap between confidence and accuracy in each of
    N_BINS bins, weighted by the bin's size. confidences: (N) in 0.5..1; hits: (N), 1 where the choice was right.
    """
    bins = ((confidences - 0.5) * 2 * N_BINS).long().clamp(0, N_BINS - 1)
    gaps = torch.zeros(N_BINS, device=bins.device).index_add(0, bins, confidences - hits)
    return (gaps.abs().sum() / len(bins)).item()


def longer_wins(lengths: Sequence[tuple[int, int]]) -> float:
    """Return the accuracy of always choosing the longer answer, a baseline. lengths: (chosen, rejected) pairs."""
    return sum((chosen > rejected) + 0.5 * (chosen == rejected) for chosen, rejected in lengths) / len(
        lengths
    )
