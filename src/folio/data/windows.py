"""Batches for pretraining: windows cut from one long row of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from folio.batch import Batch
from folio.data.order import OrderedSource, visit
from folio.data.shards import ShardedIds
from folio.errors import UserError
from folio.hashing import hash64

TokenIds = Sequence[int] | NDArray[np.integer[Any]] | Tensor
"""One row of token ids; an array may be memory-mapped."""
ManyIds = TokenIds | ShardedIds
"""The same, or a row too long for one array."""


class RandomWindows(OrderedSource[Batch]):
    """An endless stream of random windows of block_size + 1 tokens, the same in every run with the same seed.

    Drawing each window's start at random, with replacement, leaves 1/e of the text (37 %) unseen after as many tokens
    as the text has, and shows other parts several times. Here, each epoch cuts the text into windows side by side and
    visits them in random order, so every token is a target once an epoch. The cut starts at a random offset, new in
    each epoch, so that the borders move and no token stays without its context. To make all epochs equally long, each
    leaves out a little at the ends of the text: fewer than 2 * block_size - 1 tokens in all.

    ids:         (N) integers, N > block_size: a list, an array (memory-mapped too), a tensor or token shards.
    batch_size:  windows in a batch, which may cross from one epoch into the next.
    opening:     (token, replacement): a window that begins with `token` begins with `replacement` instead. With
                 the newline and <|bos|>, the model learns what comes after <|bos|>: the beginning of any line.

    Raises UserError where the tokens do not fill a single window.
    """

    def __init__(
        self,
        ids: ManyIds,
        *,
        block_size: int,
        batch_size: int,
        seed: int,
        opening: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(batch_size)
        if len(ids) <= block_size:
            raise UserError(
                f"The training text has {len(ids):,} tokens and needs at least {block_size + 1:,} "
                "(block_size + 1): give it a longer text or make block_size smaller."
            )
        self.ids = ids if isinstance(ids, Tensor | ShardedIds) else np.asarray(ids)
        self.block_size = block_size
        self.seed = seed
        self.opening = opening
        n_targets = len(ids) - 1
        self.windows_per_epoch = max(1, (n_targets - block_size + 1) // block_size)
        self._n_offsets = n_targets - self.windows_per_epoch * block_size + 1

    def starts(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where in the text the windows at these positions of the stream start."""
        epochs = positions // self.windows_per_epoch
        offsets = hash64(self.seed, epochs, 1) % np.uint64(self._n_offsets)
        windows = visit(positions, self.windows_per_epoch, self.seed)
        return windows * self.block_size + offsets.astype(np.int64)

    def batch(self, positions: NDArray[np.int64]) -> Batch:
        """Return the windows at these positions of the stream."""
        columns = self.starts(positions)[:, None] + np.arange(self.block_size + 1)  # (B, T + 1)
        if isinstance(self.ids, Tensor):
            windows = self.ids[torch.from_numpy(columns).to(self.ids.device)].long()
        else:
            windows = torch.from_numpy(self.ids[columns].astype(np.int64))
        if self.opening is not None:
            token, replacement = self.opening
            windows[:, 0].masked_fill_(windows[:, 0] == token, replacement)
        return Batch.from_windows(windows)


def validation_windows(ids: TokenIds, block_size: int, batch_size: int) -> Iterator[Batch]:
    """Yield windows side by side, in order, that make each of ids[1:] a target once.

    ids: (N) integers, N > 1. A batch has up to batch_size rows of block_size; the end of the last window is padding of
    weight 0.
    """
    ids = torch.as_tensor(ids)
    n_targets = len(ids) - 1
    n_windows = -(-n_targets // block_size)
    padding = n_windows * block_size - n_targets
    windows = F.pad(ids, (0, padding)).unfold(0, block_size + 1, block_size)  # (N) -> (windows, T + 1)
    for first in range(0, n_windows, batch_size):
        batch = Batch.from_windows(windows[first : first + batch_size].long())
        if first + batch_size >= n_windows:
            batch.weights[-1, block_size - padding :] = 0
        yield batch


def spread_windows(ids: TokenIds, block_size: int, batch_size: int, n_windows: int) -> Iterator[Batch]:
    """Yield n_windows of the windows of `validation_windows`, evenly spread, without the last one if it is not full."""
    ids = torch.as_tensor(ids)
    windows = ids.unfold(0, block_size + 1, block_size)  # (N) -> (windows, T + 1)
    chosen = torch.arange(n_windows) * len(windows) // n_windows
    for first in range(0, n_windows, batch_size):
        yield Batch.from_windows(windows[chosen[first : first + batch_size]].long())
