"""Evaluation of preferences: how often a model prefers the chosen answer, and how well calibrated it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from folio.batch import Completions
from folio.data.preferences import Pair, Preference, fitting_pairs, pair_batch
from folio.model.mode import evaluating
from folio.model.score import ScoreModel
from folio.objectives.reward import reward_margins
from folio.tokenizer.protocol import Tokenizer

N_BINS = 10
BATCH_SIZE = 32
"""Pairs of a forward pass."""


@dataclass(frozen=True)
class HeldOutPairs:
    """Evaluation on held-out pairs. margins: (model, batch) -> how much the model prefers each chosen answer (B)."""

    batches: Sequence[Completions]
    margins: Callable[[Any, Completions], Tensor]

    @classmethod
    def of(
        cls, pairs: Sequence[Pair], pad_id: int, margins: Callable[[Any, Completions], Tensor]
    ) -> HeldOutPairs:
        """Return the evaluation on pairs, in batches of like length."""
        ordered = sorted(pairs, key=len)
        firsts = range(0, len(ordered), BATCH_SIZE)
        return cls([pair_batch(ordered[first : first + BATCH_SIZE], pad_id) for first in firsts], margins)

    @torch.inference_mode()
    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Return `preference_metrics` over all pairs, with dropout off and names that begin with val_."""
        device = next(model.parameters()).device
        with evaluating(model):
            margins = torch.cat([self.margins(model, batch.to(device)).float() for batch in self.batches])
        return {f"val_{name}": value for name, value in preference_metrics(margins).items()}


def evaluate_preferences(
    model: ScoreModel, tokenizer: Tokenizer, preferences: Sequence[Preference]
) -> dict[str, float]:
    """Return how well a reward model tells the better of two answers.

    `preference_metrics`, `longer_accuracy`, which is that of always choosing the longer answer, and `n` pairs. Warns and
    raises as `data/preferences.py: fitting_pairs`.
    """
    pairs = fitting_pairs(preferences, tokenizer, model.config.block_size)
    found = HeldOutPairs.of(pairs, tokenizer.special_ids["<|pad|>"], reward_margins)(model)
    longer = longer_wins([(len(pair.chosen), len(pair.rejected)) for pair in pairs])
    metrics = {name.removeprefix("val_"): value for name, value in found.items()}
    return {**metrics, "longer_accuracy": longer, "n": len(pairs)}


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
