"""Keys and values of what a model has read, so that each new token costs one position's work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from folio.model.config import GPTConfig

SPAN = 32
"""Attention looks at a multiple of so many columns. Those that a token may not see weigh exactly 0, so that the sum over
the others is the same to the last bit, whatever the multiple."""


class Part(NamedTuple):
    """Tokens of one pass that attend together.

    start, stop: the part among the tokens of the pass.
    row:         the row that all of them continue; None: the first one continues row 0, the next row 1, and so on.
    """

    start: int
    stop: int
    row: int | None = None


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

    def context(self, rows: Sequence[int], positions: Sequence[int], parts: Sequence[Part]) -> CachedContext:
        """Return the context in which to read N more tokens in one pass, which stores their keys and values.

        rows, positions: (N), the row and the place in its text of each. Those before it in the row must have been read, or
        be in the pass. parts: together all N tokens, in order.
        """
        device = self._store.device
        where = torch.tensor((rows, positions), device=device)  # (2, N)
        n_rows, n_heads, n_columns = self._store.shape[2:5]
        heads = torch.arange(n_heads, device=device)
        index = (where[0, :, None] * n_heads + heads) * n_columns + where[1, :, None]  # (N, H_kv)
        attended = [self._attended(part, where[1], max(positions[part.start : part.stop])) for part in parts]
        return CachedContext(where[1], index.flatten(), self._flat, attended)

    def _attended(self, part: Part, positions: Tensor, last: int) -> _Attended:
        """Return what a part's tokens attend to. last: the highest of their positions."""
        n, span, first = part.stop - part.start, _rounded(last + 1), part.row or 0
        store = self._store[:, :, first : first + (n if part.row is None else 1), :, :span]
        keys, values = store.expand(-1, -1, n, -1, -1, -1)  # (L, n, H_kv, span, D)
        # A token at position p sees columns 0 to p: a window in as many zeros as there are columns, then as many -inf.
        windows = self._visible.unfold(0, span, 1)
        mask = windows.index_select(0, self.n_columns - 1 - positions[part.start : part.stop])
        return _Attended(slice(part.start, part.stop), keys.unbind(), values.unbind(), mask[:, None, None])

    def _set_store(self, store: Tensor) -> None:
        self._store = store
        """(2, L, rows, H_kv, columns, D): keys, then values."""
        self._flat = [[layer.view(-1, store.shape[5]) for layer in half] for half in store]
        hidden = store.new_full((store.shape[4],), -torch.inf)
        self._visible = torch.cat((torch.zeros_like(hidden), hidden))


@dataclass(frozen=True)
class _Attended:
    """What some tokens of a pass attend to.

    keys, values: of each layer, (n, H_kv, span, D), views of the cache. mask: (n, 1, 1, span), 0 or -inf, added to scores.
    """

    tokens: slice
    keys: Sequence[Tensor]
    values: Sequence[Tensor]
    mask: Tensor


@dataclass(frozen=True)
class CachedContext:
    """The context of the N tokens of a pass that continue rows of a `KVCache`.

    positions: (N) int64. index: (N * H_kv) int64, where the keys and values of each token belong in `flat`, which are those
    of each layer as (rows * H_kv * columns, D).
    """

    positions: Tensor
    index: Tensor
    flat: Sequence[Sequence[Tensor]]
    parts: Sequence[_Attended]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store keys and values, and return softmax(q k^T / sqrt(D)) v over what each token may see.

        q: (N, H, D); k, v: (N, H_kv, D). Returns (N, H * D). Each token attends by itself, also where a row has several: in
        one product they would round differently from a token that is alone.
        """
        for flat, new in zip(self.flat, (k, v), strict=True):
            flat[layer].index_copy_(0, self.index, new.reshape(-1, new.shape[2]))
        outputs = [
            F.scaled_dot_product_attention(
                q[part.tokens, :, None],
                part.keys[layer],
                part.values[layer],
                attn_mask=part.mask,
                enable_gqa=q.shape[1] > k.shape[1],
            )
            for part in self.parts
        ]
        y = outputs[0] if len(outputs) == 1 else torch.cat(outputs)  # (N, H, 1, D)
        return y.reshape(len(y), -1)


def _rounded(n_columns: int) -> int:
    return -(-n_columns // SPAN) * SPAN
