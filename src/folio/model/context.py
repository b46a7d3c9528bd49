"""Contexts: which tokens each token attends to, one `Context` for each way of reading.

| context                               | each token attends to                                        |
|---------------------------------------|--------------------------------------------------------------|
| `CausalContext` (the default)         | itself and what is before it in its row                      |
| `SegmentContext`                      | the same, within its own text, where a row holds several     |
| `SharedPrefixBatch` (shared_prefix.py)| its prompt, read once for all completions, and its completion|

A pass that continues what a `KVCache` holds has a `CachedContext` (cache.py), which takes tokens of several rows in a list.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Context(Protocol):
    """The tokens that each token of one forward pass attends to.

    Whatever all layers share, such as a mask, is computed when the context is made: once a pass, not once a layer.
    """

    @property
    def positions(self) -> Tensor:
        """Position of each token in its own text, from 0: (T) or (B, T) int64."""
        ...

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return softmax(q k^T / sqrt(D)) v over what each query may see.

        layer: index of the calling layer, from 0; a cache keeps its keys and values by it. q: (B, H, T, D); k, v:
        (B, H_kv, T, D), where H is a multiple of H_kv. Returns (B, H, T, D).
        """
        ...


class CausalContext:
    """Each row is one text. ids: (B, T)."""

    def __init__(self, ids: Tensor) -> None:
        self.positions = torch.arange(ids.shape[1], device=ids.device)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] > k.shape[1])


class SegmentContext:
    """A row holds several texts; positions start anew in each, and none sees another.

    segments: (B, T) int64, which text of its row each token belongs to. The tokens of a text are contiguous.
    """

    def __init__(self, segments: Tensor) -> None:
        self.positions = _positions(segments)
        T = segments.shape[1]
        is_same = segments[:, :, None] == segments[:, None, :]  # (B, T, T)
        past = torch.ones(T, T, dtype=torch.bool, device=segments.device).tril()
        self.mask = (is_same & past)[:, None]
        """(B, 1, T, T) bool, true where a query (row) may see a key (column)."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return masked_attention(q, k, v, self.mask)


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(q k^T / sqrt(D)) v where the mask is true; without a mask every query sees every key.

    q: (B, H, T, D); k, v: (B, H_kv, S, D); mask: broadcast to (B, H, T, S) bool. Returns (B, H, T, D).
    """
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=q.shape[1] > k.shape[1])


def _positions(segments: Tensor) -> Tensor:
    """(B, T) segments -> (B, T), the distance of each token from the first one of its text."""
    columns = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    is_first = torch.ones_like(segments, dtype=torch.bool)
    is_first[:, 1:] = segments[:, 1:] != segments[:, :-1]
    starts = torch.where(is_first, columns, 0).cummax(dim=1).values
    return columns - starts
