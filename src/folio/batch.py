"""What every stage of training exchanges: batches, and the loss of a batch."""

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
        there: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(self, **{name: value.to(device) for name, value in there.items() if value is not None})


@dataclass(frozen=True)
class Batch(Tensors):
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

    @property
    def layout(self) -> dict[str, Tensor]:
        """What the model is told besides the ids, by the names of its arguments."""
        return {} if self.segments is None else {"segments": self.segments}

    @property
    def n_tokens(self) -> int:
        """Positions read, whether or not they count in the loss."""
        return self.ids.numel()


@dataclass(frozen=True)
class Completions(Tensors):
    """Prompts and what was written after each, padded at the end, where no token that counts sees the padding.

    ids:   (B, T) int64, prompt, completion, padding.
    mask:  (B, T) float32, 1 for each token of the completion, its `<|end|>` too, in one stretch.
    """

    ids: Tensor
    mask: Tensor

    @classmethod
    def of(cls, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], pad_id: int) -> Self:
        """Of the ids of prompts and completions."""
        width = max(len(prompt) + len(completion) for prompt, completion in pairs)
        ids = torch.full((len(pairs), width), pad_id, dtype=torch.int64)
        mask = torch.zeros((len(pairs), width), dtype=torch.float32)
        for row, (prompt, completion) in enumerate(pairs):
            end = len(prompt) + len(completion)
            ids[row, :end] = torch.tensor([*prompt, *completion])
            mask[row, len(prompt) : end] = 1
        return cls(ids, mask)

    def rows(self, rows: Sequence[int]) -> Self:
        """Some of the rows, without the columns in which none of them has a token.

        What a subclass has for each predicted token, (B, T - 1), loses as many.
        """
        width = int(self.last[rows].max()) + 1
        lost = self.ids.shape[1] - width
        kept = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(self, **{name: value[rows, : value.shape[1] - lost] for name, value in kept.items()})

    @property
    def by_length(self) -> list[int]:
        """The rows, the shortest first: taken together, those of like length need little padding."""
        order: list[int] = self.last.argsort().tolist()
        return order

    @property
    def by_prompt(self) -> list[int]:
        """The rows, those with the same prompt side by side, so that it can be read once; else the shortest first."""
        prompts = self.prompts
        by_length = self.by_length
        longest = {prompts[row]: place for place, row in enumerate(by_length)}
        return sorted(by_length, key=lambda row: longest[prompts[row]])

    @property
    def prompts(self) -> list[tuple[int, ...]]:
        """The ids before each completion."""
        starts = self.mask.argmax(dim=1).tolist()
        return [tuple(ids[:start]) for ids, start in zip(self.ids.tolist(), starts, strict=True)]

    @property
    def last(self) -> Tensor:
        """(B) int64: where the last token of each completion stands."""
        columns = torch.arange(self.mask.shape[1], device=self.mask.device)
        return (self.mask * columns).argmax(dim=1)

    @property
    def n_tokens(self) -> int:
        """Places, whether or not they count. Where prompts are shared, fewer are read."""
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
