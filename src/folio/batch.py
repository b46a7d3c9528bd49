"""Batches, and the loss of a batch, in the form that all of training exchanges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tensors:
    """Named tensors, some of which may be None."""

    def to(self, device: torch.device) -> Self:
        """Return a copy on a device."""
        values: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(
            self, **{name: value.to(device) for name, value in values.items() if value is not None}
        )


@dataclass(frozen=True)
class Batch(Tensors):
    """Token ids and the targets that follow them.

    ids:      (B, T) int64, what the model reads.
    targets:  (B, T) int64, the token that follows each position.
    weights:  (B, T) float32, weight of each target in the loss; 0 leaves it out.
    segments: (B, T) int64 or None, which of the texts that share a row each token belongs to, from 0: none sees
              another. None where each row is one text.
    """

    ids: Tensor
    targets: Tensor
    weights: Tensor
    segments: Tensor | None = None

    @classmethod
    def from_windows(cls, windows: Tensor) -> Batch:
        """Split (B, T + 1) windows of tokens into ids (all but the last) and targets (all but the first)."""
        targets = windows[:, 1:]
        return cls(
            windows[:, :-1], targets, torch.ones(targets.shape, dtype=torch.float32, device=targets.device)
        )

    @property
    def n_tokens(self) -> int:
        """Number of positions read, whether or not they count in the loss."""
        return self.ids.numel()


@dataclass(frozen=True)
class Completions(Tensors):
    """Prompts and their completions, right-padded; causal attention never sees the padding.

    ids:   (B, T) int64, prompt, completion, padding.
    mask:  (B, T) float32, 1 for each token of the completion (`<|end|>` included), which are contiguous.
    """

    ids: Tensor
    mask: Tensor

    @classmethod
    def from_pairs(cls, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], pad_id: int) -> Self:
        """Build a right-padded batch from (prompt ids, completion ids)."""
        width = max(len(prompt) + len(completion) for prompt, completion in pairs)
        ids = torch.full((len(pairs), width), pad_id, dtype=torch.int64)
        mask = torch.zeros((len(pairs), width), dtype=torch.float32)
        for row, (prompt, completion) in enumerate(pairs):
            end = len(prompt) + len(completion)
            ids[row, :end] = torch.tensor([*prompt, *completion])
            mask[row, len(prompt) : end] = 1
        return cls(ids, mask)

    def rows(self, rows: Sequence[int]) -> Self:
        """Return some of the rows, without the columns that are padding in all of them.

        Tensors that a subclass holds for each predicted token, (B, T - 1), lose as many columns.
        """
        width = int(self.last[rows].max()) + 1
        lost = self.ids.shape[1] - width
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(self, **{name: value[rows, : value.shape[1] - lost] for name, value in values.items()})

    @property
    def by_length(self) -> list[int]:
        """Row indices, the shortest row first: neighbors need little padding."""
        order: list[int] = self.last.argsort().tolist()
        return order

    @property
    def by_prompt(self) -> list[int]:
        """Row indices with rows of the same prompt together, so that it can be read once; else the shortest first."""
        prompts = self.prompts
        by_length = self.by_length
        rank = {prompts[row]: i for i, row in enumerate(by_length)}  # that of the prompt's longest row
        return sorted(by_length, key=lambda row: rank[prompts[row]])

    @property
    def prompts(self) -> list[tuple[int, ...]]:
        """The ids before each completion."""
        starts = self.mask.argmax(dim=1).tolist()
        return [tuple(ids[:start]) for ids, start in zip(self.ids.tolist(), starts, strict=True)]

    @property
    def last(self) -> Tensor:
        """Column of the last token of each completion: (B) int64."""
        columns = torch.arange(self.mask.shape[1], device=self.mask.device)
        return (self.mask * columns).argmax(dim=1)

    @property
    def n_tokens(self) -> int:
        """Number of positions, padding included. Where prompts are shared, fewer are read."""
        return self.ids.numel()


@dataclass(frozen=True)
class Uncounted:
    """A batch of which nothing counts: for a rank that gets no row of a step, and computes so that the others need not wait."""

    batch: Any
    n_tokens: int = 0

    def to(self, device: torch.device) -> Uncounted:
        """Return a copy on a device."""
        return Uncounted(self.batch.to(device))


@dataclass(frozen=True)
class Loss:
    """A loss as sums, before any division.

    The loop adds totals and counts over all micro-batches of a step and divides once, so that 1 x 8 and 8 x 1
    sequences give the same gradient.

    total:    scalar with a gradient, the sum over what counts.
    count:    scalar, how much counted (for the next-token loss: the sum of the weights).
    metrics:  further sums without gradient, to be divided by the same count.
    """

    total: Tensor
    count: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)

    def times(self, factor: float) -> Loss:
        """Return this loss with all its sums multiplied by a number."""
        metrics = {name: factor * value for name, value in self.metrics.items()}
        return Loss(factor * self.total, factor * self.count, metrics)
