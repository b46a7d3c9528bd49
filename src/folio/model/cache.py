"""Keys and values of what a model has read, so that each new token costs one position's work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from folio.model.config import GPTConfig

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Attention of queries (B, H, T, D) over keys and values (B, H_kv, columns, D) that a mask (None: all) lets them see."""


class Context(Protocol):
    """What tokens can see, where that is not what stands before them in their row."""

    def positions(self, n_new: int) -> Tensor:
        """Where the next `n_new` tokens stand in their texts: (T) or (B, T)."""
        ...

    def mask(self, n_new: int) -> Tensor | None:
        """What `attend` is to be given in each layer."""
        ...

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, attention: Attend
    ) -> Tensor:
        """Attention of new queries (B, H, T, D), which come with their keys and values (B, H_kv, T, D)."""
        ...

    def advance(self, n_new: int) -> None:
        """Every layer has read them."""
        ...


class KVCache:
    """Keys and values for every layer, and the mask and positions that go with them.

    All rows end in the same column: shorter prompts have padding on their left. So one slice writes a step
    of the whole batch, and a step without padding needs no mask.

    padding:    (B) int64, columns at the left of each row that hold nothing.
    n_columns:  how many to make room for; block_size if not given.
    """

    def __init__(
        self, config: GPTConfig, padding: Tensor, dtype: torch.dtype, n_columns: int | None = None
    ) -> None:
        n_columns = config.block_size if n_columns is None else n_columns
        # (L, B, H_kv, T, D), a layer a slice; nobody reads a column before it is written.
        shape = (config.n_layer, len(padding), config.n_kv_head, n_columns, config.head_size)
        self._pad(padding)
        self.length = 0
        """Columns filled."""
        self.keys = padding.new_empty(shape, dtype=dtype)
        self.values = padding.new_empty(shape, dtype=dtype)

    @property
    def room(self) -> int:
        """Columns still free."""
        return self.keys.shape[3] - self.length

    def positions(self, n_new: int) -> Tensor:
        """Where the next `n_new` tokens stand in their own rows: (T), or (B, T) with padding."""
        columns = torch.arange(self.length, self.length + n_new, device=self.padding.device)
        if not self.is_padded:
            return columns
        return (columns - self.padding[:, None]).clamp(min=0)

    def mask(self, n_new: int) -> Tensor | None:
        """Which columns each of the next `n_new` tokens may look at: (B or 1, 1, T, columns), or None for all."""
        if n_new == 1 and not self.is_padded:
            return None
        columns = torch.arange(self.length + n_new, device=self.padding.device)
        rows = columns[self.length :, None]
        visible = (columns <= rows) & (columns >= self.padding[:, None, None])
        # Padding looks at itself: a softmax over nothing would be NaN and spread to the whole row.
        return (visible | (columns == rows))[:, None]

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, attention: Attend
    ) -> Tensor:
        """Store a layer's new keys and values (B, H_kv, T, D), and let the queries see all of them so far."""
        end = self.length + k.shape[2]
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return attention(q, self.keys[layer, :, :, :end], self.values[layer, :, :, :end], mask)

    def columns(self) -> list[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
        """For decoding one token: for each layer, where its new keys and values (B, H_kv, D) go, and all of
        them (B, H_kv, columns, D) with those. It is `attend` for all layers in a few calls."""
        keys_and_values = (self.keys, self.values)
        new = zip(*(store.select(3, self.length).unbind() for store in keys_and_values), strict=True)
        read = zip(*(store.narrow(3, 0, self.length + 1).unbind() for store in keys_and_values), strict=True)
        return list(zip(new, read, strict=True))

    def advance(self, n_new: int) -> None:
        """Count the columns that every layer has just filled."""
        self.length += n_new

    def spread(self, rows: Sequence[int], n_columns: int) -> None:
        """Go on with copies of these rows, of which the same may come several times, and room for `n_columns`."""
        L, _, H, _, D = self.keys.shape
        keys, values = (self.keys.new_empty(L, len(rows), H, n_columns, D) for _ in range(2))
        for new, old in ((keys, self.keys), (values, self.values)):
            for place, row in enumerate(rows):
                new[:, place, :, : self.length] = old[:, row, :, : self.length]
        self.keys, self.values = keys, values
        self._pad(self.padding[list(rows)])

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone, at least one. Row i is where `rows[i]` was: if that is not i, i is not in rows."""
        for store in (self.keys, self.values):
            for place, row in enumerate(rows):
                if place != row:
                    store[:, place, :, : self.length] = store[:, row, :, : self.length]
        self.keys, self.values = self.keys[:, : len(rows)], self.values[:, : len(rows)]
        self._pad(self.padding[list(rows)])

    def _pad(self, padding: Tensor) -> None:
        self.padding = padding
        self.is_padded = bool(padding.any())
