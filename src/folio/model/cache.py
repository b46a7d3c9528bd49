"""Keys and values of what a model has read, so that each new token costs one position's work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from folio.model.config import GPTConfig
from folio.model.context import masked_attention


@dataclass(frozen=True)
class CachedContext:
    """The context of tokens that continue what a `KVCache` holds; the pass stores their keys and values there.

    positions: (T) or (B, T) int64. mask: (B, 1, T, columns) bool, or None where every token sees all columns.
    keys, values: (L, B, H_kv, columns, D), views of the cache whose last T columns this pass fills.
    """

    positions: Tensor
    mask: Tensor | None
    keys: Tensor
    values: Tensor

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, -k.shape[2] :] = k
        values[:, :, -v.shape[2] :] = v
        return masked_attention(q, keys, values, self.mask)


class KVCache:
    """Keys and values of every layer, with room for more.

    All rows end in the same column; shorter texts are padded on the left. So one slice stores a step of the whole
    batch, and a step without padding needs no mask.

    padding:    (B) int64, columns of padding at the left of each row.
    n_columns:  columns to make room for; by default block_size.
    """

    def __init__(
        self, config: GPTConfig, padding: Tensor, dtype: torch.dtype, n_columns: int | None = None
    ) -> None:
        n_columns = config.block_size if n_columns is None else n_columns
        # A layer is a slice. Not initialized: no column is read before it is written.
        shape = (config.n_layer, len(padding), config.n_kv_head, n_columns, config.head_size)
        self._set_padding(padding)
        self.length = 0
        """Columns filled, or to be filled by the pass that `extend` prepared last."""
        self.keys = padding.new_empty(shape, dtype=dtype)
        self.values = padding.new_empty(shape, dtype=dtype)

    @property
    def room(self) -> int:
        """Columns still free."""
        return self.keys.shape[3] - self.length

    def extend(self, n_new: int) -> CachedContext:
        """Return the context in which to read the next n_new tokens of each row, in one pass. Needs that much room."""
        start, self.length = self.length, self.length + n_new
        return CachedContext(
            self._positions(start),
            self._mask(start),
            self.keys.narrow(3, 0, self.length),
            self.values.narrow(3, 0, self.length),
        )

    def expand_rows(self, rows: Sequence[int], n_columns: int) -> None:
        """Replace the rows by copies of these, which may repeat, with room for n_columns."""
        L, _, H, _, D = self.keys.shape
        keys, values = (self.keys.new_empty(L, len(rows), H, n_columns, D) for _ in range(2))
        for new, old in ((keys, self.keys), (values, self.values)):
            for target, row in enumerate(rows):
                new[:, target, :, : self.length] = old[:, row, :, : self.length]
        self.keys, self.values = keys, values
        self._set_padding(self.padding[list(rows)])

    def select_rows(self, rows: Sequence[int]) -> None:
        """Keep these rows alone, at least one, in this order, in place.

        Row i becomes what row rows[i] was; a row that stays must keep its index (if rows[i] != i, i is not in rows).
        """
        for store in (self.keys, self.values):
            for target, row in enumerate(rows):
                if target != row:
                    store[:, target, :, : self.length] = store[:, row, :, : self.length]
        self.keys, self.values = self.keys[:, : len(rows)], self.values[:, : len(rows)]
        self._set_padding(self.padding[list(rows)])

    def _set_padding(self, padding: Tensor) -> None:
        self.padding = padding
        self.is_padded = bool(padding.any())

    def _positions(self, start: int) -> Tensor:
        """Positions of the tokens in columns start to length: (T), or (B, T) with padding."""
        columns = torch.arange(start, self.length, device=self.padding.device)
        if not self.is_padded:
            return columns
        return (columns - self.padding[:, None]).clamp(min=0)

    def _mask(self, start: int) -> Tensor | None:
        """Which columns the tokens in columns start to length may see: (B, 1, T, columns), or None for all."""
        if self.length - start == 1 and not self.is_padded:
            return None
        columns = torch.arange(self.length, device=self.padding.device)
        rows = columns[start:, None]
        visible = (columns <= rows) & (columns >= self.padding[:, None, None])
        # Padding sees itself: a softmax over nothing would be NaN and spread to the whole row.
        return (visible | (columns == rows))[:, None]
