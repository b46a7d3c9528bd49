"""Texts that begin alike: which of those that were read has the longest beginning in common with a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class TokenTable:
    """The token ids of several texts, compared with another one all at once."""

    def __init__(self, n_rows: int) -> None:
        self._ids = np.full((n_rows, 0), -1, dtype=np.int32)
        """(rows, columns), -1 behind the end of each text."""

    def put(self, row: int, ids: Sequence[int]) -> None:
        """Set the text of a row, which may be a new one. An empty text has nothing in common with any other."""
        n_rows, n_columns = self._ids.shape
        if row >= n_rows or len(ids) > n_columns:
            larger = np.full((max(n_rows, 2 * row + 1), max(n_columns, len(ids))), -1, dtype=np.int32)
            larger[:n_rows, :n_columns] = self._ids
            self._ids = larger
        self._ids[row] = -1
        self._ids[row, : len(ids)] = ids

    def move(self, source: int, target: int) -> None:
        """Make the text of one row that of another one; the first is then empty."""
        self._ids[target], self._ids[source] = self._ids[source], -1

    def common(self, ids: Sequence[int]) -> NDArray[np.intp]:
        """Return how many tokens at its beginning each row has in common with a text: (rows)."""
        n_rows, n_columns = self._ids.shape
        n = min(len(ids), n_columns)
        differs = np.ones((n_rows, n + 1), dtype=bool)  # in the last column all do
        np.not_equal(self._ids[:, :n], np.asarray(ids[:n], dtype=np.int32), out=differs[:, :n])
        return differs.argmax(axis=1)


@dataclass(frozen=True)
class Prefix:
    """The beginning of a text, with its keys and values as `KVCache.save` returns them."""

    ids: Sequence[int]
    saved: Tensor


class PrefixCache:
    """Texts that have left the batch, kept for others that begin as they do; the least recently used make way first.

    max_tokens: most tokens of all of them together.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._kept: dict[int, Prefix] = {}
        """By row of the table, the least recently used first."""
        self._table = TokenTable(0)
        self.n_tokens = 0
        """Of all texts together."""

    def find(self, ids: Sequence[int]) -> tuple[int, Prefix | None]:
        """Return how many tokens a text has in common with the kept one that begins most like it, and that one."""
        if not self._kept:
            return 0, None
        common = self._table.common(ids)
        row = int(common.argmax())
        if not common[row]:
            return 0, None
        self._kept[row] = self._kept.pop(row)  # now the last
        return int(common[row]), self._kept[row]

    def takes(self, ids: Sequence[int]) -> bool:
        """Return whether `put` would keep a text: it has room for it, and no kept one begins with it."""
        return 0 < len(ids) <= self._max_tokens and self.find(ids)[0] < len(ids)

    def put(self, prefix: Prefix) -> None:
        """Keep a text, in place of those that it begins with and of the least recently used as far as there is no room."""
        common = self._table.common(prefix.ids)
        for row in [row for row, kept in self._kept.items() if common[row] == len(kept.ids)]:
            self._drop(row)
        while self._kept and self.n_tokens + len(prefix.ids) > self._max_tokens:
            self._drop(next(iter(self._kept)))
        row = next(row for row in range(len(self._kept) + 1) if row not in self._kept)
        self._kept[row] = prefix
        self._table.put(row, prefix.ids)
        self.n_tokens += len(prefix.ids)

    def _drop(self, row: int) -> None:
        self.n_tokens -= len(self._kept.pop(row).ids)
        self._table.put(row, ())
