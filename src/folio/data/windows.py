"""Batches for pretraining: windows cut from one long row of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from folio.batch import Batch
from folio.errors import UserError


class RandomWindows:
    """An endless stream of random windows of block_size + 1 tokens, the same in every run with the same seed.

    The lecture draws each window's start at random, with replacement: by chance, after as many tokens as the
    text has, 1/e of it (37 %) has not been seen and other parts have been seen several times. Here, each epoch
    cuts the text into windows that lie side by side and visits them in random order, so every token is a
    target once an epoch. The cut starts at a random offset below block_size, new in each epoch, so that the
    borders move and no token stays without its context. Each epoch so leaves out less than a block at either
    end of the text. A batch may go across two epochs.

    What comes next depends on seed, epoch and position alone, so these are the state.

    ids:         (N) integers, N > block_size.
    batch_size:  windows in a batch of this rank.
    opening:     (token, replacement): a window that begins with `token` begins with `replacement` instead. With
                 a line's end and <|bos|> the model learns what comes after <|bos|>: the beginning of any line.
    rank:        this process among `world_size`; each takes its own rows of a global batch of batch_size *
                 world_size windows, which is the same however many ranks share it.

    Raises UserError where the tokens do not fill a single window.
    """

    def __init__(
        self,
        ids: Tensor,
        *,
        block_size: int,
        batch_size: int,
        seed: int,
        opening: tuple[int, int] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if len(ids) <= block_size:
            raise UserError(
                f"The training text has {len(ids):,} tokens and needs at least {block_size + 1:,} "
                "(block_size + 1): give it a longer text or make block_size smaller."
            )
        self.ids = ids
        self.block_size = block_size
        self.batch_size = batch_size
        self.seed = seed
        self.opening = opening
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.position = 0
        """Windows of this epoch that all ranks together have taken."""
        self._starts = self._shuffled_starts()

    def _shuffled_starts(self) -> NDArray[np.int64]:
        """Where the windows of this epoch start, in the order in which they are visited."""
        generator = np.random.default_rng((self.seed, self.epoch))
        n_targets = len(self.ids) - 1
        # A short text has fewer offsets that leave it a window.
        offset = int(generator.integers(min(self.block_size, n_targets - self.block_size + 1)))
        n_windows = (n_targets - offset) // self.block_size
        return generator.permutation(n_windows) * self.block_size + offset

    def _take(self, n_windows: int) -> NDArray[np.int64]:
        """The next starts, from as many epochs as it takes."""
        parts = []
        while n_windows:
            if self.position == len(self._starts):
                self.epoch, self.position = self.epoch + 1, 0
                self._starts = self._shuffled_starts()
            parts.append(self._starts[self.position : self.position + n_windows])
            self.position += len(parts[-1])
            n_windows -= len(parts[-1])
        return np.concatenate(parts)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        starts = self._take(self.batch_size * self.world_size)
        mine = starts[self.rank * self.batch_size : (self.rank + 1) * self.batch_size]
        columns = torch.from_numpy(mine)[:, None] + torch.arange(self.block_size + 1)  # (B, T + 1)
        windows = self.ids[columns.to(self.ids.device)].long()
        if self.opening is not None:
            token, replacement = self.opening
            windows[:, 0].masked_fill_(windows[:, 0] == token, replacement)
        return Batch.from_windows(windows)

    def state_dict(self) -> dict[str, int]:
        """Three counters, the same on every rank."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where a source over the same ids with the same block_size was when it gave `state`."""
        self.seed, self.epoch, self.position = state["seed"], state["epoch"], state["position"]
        self._starts = self._shuffled_starts()


def validation_windows(ids: Tensor, block_size: int, batch_size: int) -> Iterator[Batch]:
    """Windows side by side, in order, that make each of ids[1:] a target once.

    ids: (N) integers, N > 1. Yields batches of up to batch_size rows of block_size; the end of the last window
    is padding of weight 0.
    """
    n_targets = len(ids) - 1
    n_windows = -(-n_targets // block_size)
    padding = n_windows * block_size - n_targets
    windows = F.pad(ids, (0, padding)).unfold(0, block_size + 1, block_size)  # (N) -> (windows, T + 1)
    for first in range(0, n_windows, batch_size):
        batch = Batch.from_windows(windows[first : first + batch_size].long())
        if first + batch_size >= n_windows:
            batch.weights[-1, block_size - padding :] = 0
        yield batch
