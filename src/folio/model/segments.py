"""Several texts in one row: so that short ones fill a batch, and none sees another."""

from __future__ import annotations

import torch
from torch import Tensor


def segment_mask(segments: Tensor) -> Tensor:
    """Which positions each one may look at: those of its own text, up to itself.

    segments: (B, T) int64. Returns (B, 1, T, T) bool.
    """
    T = segments.shape[1]
    is_same = segments[:, :, None] == segments[:, None, :]  # (B, T, T)
    past = torch.ones(T, T, dtype=torch.bool, device=segments.device).tril()
    return (is_same & past)[:, None]


def segment_positions(segments: Tensor) -> Tensor:
    """Where each token stands in its own text, from 0. segments: (B, T) int64, each text in one stretch. Returns (B, T)."""
    columns = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    is_first = torch.ones_like(segments, dtype=torch.bool)
    is_first[:, 1:] = segments[:, 1:] != segments[:, :-1]
    starts = torch.where(is_first, columns, 0).cummax(dim=1).values
    return columns - starts
