"""The two things that every stage of training exchanges: a batch, and the loss of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Token ids and what should follow each of them.

    ids:      (B, T) int64, what the model reads.
    targets:  (B, T) int64, the token that follows each position.
    weights:  (B, T) float32, how much each target counts; 0 leaves it out of the loss.
    segments: (B, T) int64 or None, which of the texts that share a row each token is of, counted from 0: none sees
              another. None where each row is one text.
    """

    ids: Tensor
    targets: Tensor
    weights: Tensor
    segments: Tensor | None = None

    @classmethod
    def from_windows(cls, windows: Tensor) -> Batch:
        """Every token of a (B, T + 1) window but the last is read; every one but the first is a target."""
        targets = windows[:, 1:]
        return cls(
            windows[:, :-1], targets, torch.ones(targets.shape, dtype=torch.float32, device=targets.device)
        )

    def to(self, device: torch.device) -> Batch:
        segments = None if self.segments is None else self.segments.to(device)
        return Batch(self.ids.to(device), self.targets.to(device), self.weights.to(device), segments)

    @property
    def layout(self) -> dict[str, Tensor]:
        """What the model is told besides the ids, by the names of its arguments."""
        return {} if self.segments is None else {"segments": self.segments}

    @property
    def n_tokens(self) -> int:
        """Positions read, whether or not they count in the loss."""
        return self.ids.numel()


@dataclass(frozen=True)
class Loss:
    """A loss before it is divided by anything.

    Sums, never means: the loop adds totals and counts over a whole step (all micro-batches, all ranks) and
    divides once, so that 1 x 8 and 8 x 1 sequences give the same gradient.

    total:    scalar with a gradient, the sum over what counts.
    count:    scalar, how much counted (for the next-token loss: the sum of the weights).
    metrics:  further sums without gradient, to be divided by the same count.
    """

    total: Tensor
    count: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
