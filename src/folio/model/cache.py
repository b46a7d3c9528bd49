"""Keys and values of what a model has read, so that each new token costs one position's work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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
        shape = (2, config.n_layer, n_rows + 1, config.n_kv_head, _rounded(n_columns), config.head_size)
        # Zeros, because what is masked must be a number. On Linux they take no memory before they are written over.
        self._set_store(torch.zeros(shape, dtype=dtype, device=device))

    @property
    def n_columns(self) -> int:
        """Columns there is room for."""
        return self._store.shape[4]

    def reserve(self, n_columns: int) -> None:
        """Make room for so many columns. What was read stays."""
        if n_columns > self.n_columns:
            old = self._store
            shape = (*old.shape[:4], _rounded(n_columns), old.shape[5])
            self._set_store(old.new_zeros(shape))
            self._store[..., : old.shape[4], :] = old

    def copy(self, source: int, target: int, n: int) -> None:
        """Copy the first n tokens of a row to another row."""
        self._store[:, :, target, :, :n] = self._store[:, :, source, :, :n]

    def save(self, row: int, n: int) -> Tensor:
        """Return a copy of the keys and values of a row's first n tokens: (2, L, H_kv, n, D)."""
        return self._store[:, :, row, :, :n].clone()

    def load(self, row: int, saved: Tensor, n: int) -> None:
        """Make the first n tokens of what `save` returned those of a row."""
        self._store[:, :, row, :, :n] = saved[:, :, :, :n]

    def context(self, rows: Sequence[int], positions: Sequence[int], n_single: int) -> CachedContext:
        """Return the context in which to read N more tokens in one pass, which stores their keys and values.

        rows, positions: (N), the row and the place in its text of each. Those before it in the row must have been read, or
        be in the pass. n_single: the first tokens, of which token i either continues row i or is `unread`.
        """
        where = torch.tensor((rows, positions), device=self._store.device)  # (2, N)
        parts = [
            self.part(
                first, stop, where[1], max(positions[first:stop]), None if first < n_single else rows[first]
            )
            for first, stop in _cut(rows, positions, n_single)
        ]
        n_heads, n_columns = self._store.shape[3:5]
        heads = torch.arange(n_heads, device=where.device)
        index = (where[0, :, None] * n_heads + heads) * n_columns + where[1, :, None]  # (N, H_kv)
        return CachedContext(self, where[1], index, (where[0] != self.unread).long(), parts)

    def part(self, first: int, stop: int, positions: Tensor, last: int, row: int | None) -> Part:
        """Return what tokens of a pass attend to.

        positions: (N). last: the highest of theirs. row: what all of them continue; None: token i continues row i.
        """
        n, span = stop - first, _rounded(last + 1)
        rows = slice(first, stop) if row is None else slice(row, row + 1)
        keys, values = self._store[:, :, rows, :, :span].expand(
            -1, -1, n, -1, -1, -1
        )  # (L, n, H_kv, span, D)
        mask = self.mask(positions[first:stop], span)
        return Part(first, stop, row, last, span, keys.unbind(), values.unbind(), mask)

    def mask(self, positions: Tensor, span: int) -> Tensor:
        """Return what is added to the scores of columns by tokens at these positions: (n) -> (n, 1, 1, span)."""
        # A token at position p sees columns 0 to p: a window in as many zeros as there are columns, then as many -inf.
        windows = self._visible.unfold(0, span, 1)
        return windows.index_select(0, self.n_columns - 1 - positions)[:, None, None]

    def _set_store(self, store: Tensor) -> None:
        self._store = store
        """(2, L, rows, H_kv, columns, D): keys, then values."""
        keys, values = ([layer.view(-1, store.shape[5]) for layer in half] for half in store)
        self.flat = list(zip(keys, values, strict=True))
        """Keys and values of each layer as (rows * H_kv * columns, D)."""
        hidden = store.new_full((store.shape[4],), -torch.inf)
        self._visible = torch.cat((torch.zeros_like(hidden), hidden))


class Part(NamedTuple):
    """Tokens of a pass that attend in one call, and what they attend to (see `KVCache.part`)."""

    first: int
    stop: int
    row: int | None
    last: int
    span: int
    keys: Sequence[Tensor]
    """Of each layer, (n, H_kv, span, D), as are the values."""
    values: Sequence[Tensor]
    mask: Tensor
    """(n, 1, 1, span), added to scores."""


class CachedContext:
    """The context of the N tokens of a pass that continue rows of a `KVCache`.

    positions: (N) int64. index: (N, H_kv) int64, where the keys and values of each belong in `KVCache.flat`. is_real: (N)
    int64, 0 for what stands in for a token, else 1.
    """

    def __init__(
        self, cache: KVCache, positions: Tensor, index: Tensor, is_real: Tensor, parts: Sequence[Part]
    ) -> None:
        self.positions = positions
        self._cache = cache
        self._index = index.flatten()
        self._is_real = is_real
        self._is_real_index = is_real.repeat_interleave(index.shape[1])
        self._parts = parts

    def advance(self) -> None:
        """Become the context of a pass over the next token of each row, where no row has had more than one."""
        self.positions = self.positions + self._is_real
        self._index = self._index + self._is_real_index
        self._parts = [self._advanced(part) for part in self._parts]

    def _advanced(self, part: Part) -> Part:
        last = part.last + 1
        if last == part.span:
            return self._cache.part(part.first, part.stop, self.positions, last, part.row)
        mask = self._cache.mask(self.positions[part.first : part.stop], part.span)
        return part._replace(last=last, mask=mask)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store keys and values, and return softmax(q k^T / sqrt(D)) v over what each token may see.

        q: (N, H, D); k, v: (N, H_kv, D). Returns (N, H * D). Each token attends by itself, also where a row has several: in
        one product they would round differently from a token that is alone.
        """
        keys, values = self._cache.flat[layer]
        keys.index_copy_(0, self._index, k.reshape(-1, k.shape[2]))
        values.index_copy_(0, self._index, v.reshape(-1, v.shape[2]))
        q, is_grouped = q.unsqueeze(2), q.shape[1] > k.shape[1]  # (N, H, 1, D)
        outputs = [
            F.scaled_dot_product_attention(
                q[part.first : part.stop],
                part.keys[layer],
                part.values[layer],
                attn_mask=part.mask,
                enable_gqa=is_grouped,
            )
            for part in self._parts
        ]
        y = outputs[0] if len(outputs) == 1 else torch.cat(outputs)  # (N, H, 1, D)
        return y.reshape(q.shape[0], -1)


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


def _rounded(n_columns: int) -> int:
    return -(-n_columns // SPAN) * SPAN
