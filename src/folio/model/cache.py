"""Keys and values of what a model has read, so that each new token costs one position's work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from folio.model.config import GPTConfig

SPAN = 16
"""Attention looks at a multiple of so many columns. Those that a token may not see weigh exactly 0, so that the sum over
the others is the same to the last bit, whatever the multiple."""
TOGETHER = 16
"""Rows that attend in one call: all look at as many columns as the longest of them needs, and each call has its cost."""
PIECE = 64
"""The same for tokens of one row."""
ALIGNMENT = 64
"""Bytes of a line of the processor's cache: as PyTorch's own memory, a store begins with one."""


class KVCache:
    """Keys and values of every layer for rows that each have a length of their own.

    A text's first token is in column 0 of its row. There is a row more than asked for, `unread`: what stands in for a token
    where there is none is written there.

    n_rows, n_columns: what to make room for. Columns can be added later (`reserve`).
    """

    def __init__(
        self, config: GPTConfig, n_rows: int, n_columns: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.unread = n_rows
        shape = (config.n_layer, n_rows + 1, 2 * config.n_kv_head, _rounded(n_columns), config.head_size)
        self._set_store(_zeros(shape, dtype, device))

    @property
    def n_columns(self) -> int:
        """Columns there is room for."""
        return self.store.shape[3]

    def reserve(self, n_columns: int) -> None:
        """Make room for so many columns. What was read stays; contexts made before are void."""
        if n_columns > self.n_columns:
            old = self.store
            shape = (*old.shape[:3], _rounded(n_columns), old.shape[4])
            self._set_store(_zeros(shape, old.dtype, old.device))
            self.store[:, :, :, : old.shape[3]] = old

    def copy(self, source: int, target: int, n: int) -> None:
        """Copy the first n tokens of a row to another row."""
        self.store[:, target, :, :n] = self.store[:, source, :, :n]

    def save(self, row: int, n: int) -> Tensor:
        """Return a copy of the keys and values of a row's first n tokens: (L, 2 * H_kv, n, D)."""
        return self.store[:, row, :, :n].clone()

    def load(self, row: int, saved: Tensor, n: int) -> None:
        """Make the first n tokens of what `save` returned those of a row."""
        self.store[:, row, :, :n] = saved[:, :, :n]

    def context(self, rows: Sequence[int], positions: Sequence[int], n_single: int) -> CachedContext:
        """Return the context in which to read N more tokens in one pass, which stores their keys and values.

        rows, positions: (N), the row and the place in its text of each. Those before it in the row must have been read, or
        be in the pass. n_single: the first tokens, of which token i either continues row i or is `unread`.
        """
        return CachedContext(self, rows, positions, n_single)

    def _set_store(self, store: Tensor) -> None:
        self.store = store
        """(L, rows, 2 * H_kv, columns, D): of each row the keys of all heads, then their values."""
        self.flat = [layer.view(-1, store.shape[4]) for layer in store]
        """The same, of each layer as (rows * 2 * H_kv * columns, D)."""
        hidden = store.new_full((self.n_columns,), -torch.inf)
        self.visible = torch.cat((torch.zeros_like(hidden), hidden))
        """As many zeros as there are columns, and as many -inf: any mask is a window in it."""


@dataclass(slots=True)
class _Part:
    """Tokens of a pass that attend in one call, and what they attend to."""

    first: int
    stop: int
    row: int | None
    """The row that all continue; None: token i continues row i."""
    last: int
    """The highest of their positions."""
    keys: Sequence[Tensor]
    """Of each layer, (n, H_kv, span, D), as are the values."""
    values: Sequence[Tensor]
    windows: Tensor
    """(n_columns, span), the mask of each position from the last one to 0."""
    mask: Tensor
    """(n, 1, 1, span), added to scores."""

    def attend(self, layer: int, q: Tensor, is_grouped: bool) -> Tensor:
        """q: (n, H, 1, D) -> (n, H, 1, D)."""
        return F.scaled_dot_product_attention(
            q, self.keys[layer], self.values[layer], attn_mask=self.mask, enable_gqa=is_grouped
        )


class CachedContext:
    """The context of the N tokens of a pass that continue rows of a `KVCache` (see `KVCache.context`)."""

    def __init__(self, cache: KVCache, rows: Sequence[int], positions: Sequence[int], n_single: int) -> None:
        self._cache = cache
        N, columns, heads = len(rows), cache.n_columns, torch.arange(cache.store.shape[2])
        row, position = torch.tensor((rows, positions))[:, :, None].unbind()  # (N, 1), twice
        index = (row * len(heads) + heads) * columns + position  # (N, 2 * H_kv)
        one = (row != cache.unread).long()
        places = (position, columns - 1 - position, index)
        steps = (one, -one, one.expand_as(index))
        # In one tensor, so that all advance in one operation.
        self._places, self._steps = (
            torch.cat([each.flatten() for each in parts]).to(cache.store.device) for parts in (places, steps)
        )
        self.positions, self._windows, self._index = self._places.split_with_sizes((N, N, index.numel()))
        """(N), place of each token in its text; (N), its mask among those of a part; where its keys and values belong."""
        self._parts = [
            self._part(first, stop, None if first < n_single else rows[first], max(positions[first:stop]))
            for first, stop in _cut(rows, positions, n_single)
        ]

    def advance(self) -> None:
        """Become the context of a pass over the next token of each row, where no row has had more than one."""
        self._places += self._steps
        for number, part in enumerate(self._parts):
            part.last += 1
            if part.last < part.windows.shape[1]:
                part.mask = self._mask(part.windows, part.first, part.stop)
            else:
                self._parts[number] = self._part(part.first, part.stop, part.row, part.last)

    def attend(self, layer: int, q: Tensor, kv: Tensor) -> Tensor:
        """Store keys and values, and return softmax(q k^T / sqrt(D)) v over what each token may see.

        q: (N, H, D); kv: (N, 2 * H_kv, D), the keys of all heads, then their values. Returns (N, H * D). Each token attends
        by itself, also where a row has several: in one product they would round differently from a token that is alone.
        """
        self._cache.flat[layer].index_copy_(0, self._index, kv.reshape(-1, kv.shape[2]))
        is_grouped = 2 * q.shape[1] > kv.shape[1]
        q = q.unsqueeze(2)  # (N, H, 1, D)
        if len(self._parts) == 1:
            y = self._parts[0].attend(layer, q, is_grouped)
        else:
            outputs = [part.attend(layer, q[part.first : part.stop], is_grouped) for part in self._parts]
            y = torch.cat(outputs)  # (N, H, 1, D)
        return y.reshape(q.shape[0], -1)

    def _part(self, first: int, stop: int, row: int | None, last: int) -> _Part:
        rows, span = slice(first, stop) if row is None else slice(row, row + 1), _rounded(last + 1)
        seen = self._cache.store[:, rows, :, :span].expand(-1, stop - first, -1, -1, -1)
        keys, values = (half.unbind() for half in seen.chunk(2, dim=2))
        windows = self._cache.visible.unfold(0, span, 1)
        return _Part(first, stop, row, last, keys, values, windows, self._mask(windows, first, stop))

    def _mask(self, windows: Tensor, first: int, stop: int) -> Tensor:
        return windows.index_select(0, self._windows[first:stop])[:, None, None]


def _cut(rows: Sequence[int], positions: Sequence[int], n_single: int) -> list[tuple[int, int]]:
    """Return the first token of each part of a pass, and the one after its last (see `KVCache.context`)."""
    parts: list[tuple[int, int]] = []
    span = 0
    for at in range(0, n_single, TOGETHER):
        stop = min(at + TOGETHER, n_single)
        before, span = span, _rounded(max(positions[at:stop]) + 1)
        first, _ = parts.pop() if span == before else (at, stop)
        parts.append((first, stop))
    first = n_single
    for at in range(n_single + 1, len(rows) + 1):
        if at == len(rows) or rows[at] != rows[first] or at == first + PIECE:
            parts.append((first, at))
            first = at
    return parts


def _zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a store in which nothing has been read: what is masked must be a number.

    In the main memory it is NumPy that makes it, for its zeros take neither time nor memory before they are written over.
    """
    if device.type != "cpu":
        return torch.zeros(*shape, dtype=dtype, device=device)
    n_bytes = math.prod(shape) * dtype.itemsize
    memory = torch.from_numpy(np.zeros(n_bytes + ALIGNMENT, dtype=np.uint8))
    first = -memory.data_ptr() % ALIGNMENT
    return memory[first : first + n_bytes].view(dtype).view(*shape)


def _rounded(n_columns: int) -> int:
    return -(-n_columns // SPAN) * SPAN
