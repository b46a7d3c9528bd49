"""The order in which a source visits its items: a function of the seed and of a position that only counts up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from folio.errors import UserError
from folio.hashing import Words, hash64

ROUNDS = 12
"""So many that the permutations of as few as 5 items come about equally often."""

Item_co = TypeVar("Item_co", covariant=True)


def permute(indices: NDArray[np.int64], n: int, key: Words) -> NDArray[np.int64]:
    """Return where a pseudorandom permutation of range(n), chosen by `key`, sends each index.

    indices, key: integers that broadcast; each index in range(n). Takes no memory but that of the indices, whatever n.

    An index is a cell of a grid of at least n cells, and fewer than sqrt(n) + 1 more. Each round turns its row by an
    amount that depends on its column, or the other way round: a Feistel network (Black and Rogaway, 2002, "Ciphers
    with Arbitrary Finite Domains"). What leaves range(n) goes through it again until it is back.
    """
    n_rows = np.uint64(np.ceil(np.sqrt(n)))
    n_columns = np.uint64(-(-n // int(n_rows)))
    keys = hash64(key)
    places, keys = np.broadcast_arrays(np.asarray(indices).astype(np.uint64), keys)
    shape, places, keys = places.shape, places.flatten(), keys.ravel()
    outside = np.arange(places.size)
    while outside.size:
        places[outside] = _feistel(places[outside], n_rows, n_columns, keys[outside])
        outside = outside[places[outside] >= np.uint64(n)]
    return places.astype(np.int64).reshape(shape)


def _feistel(
    places: NDArray[np.uint64], n_rows: np.uint64, n_columns: np.uint64, keys: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    rows, columns = np.divmod(places, n_columns)
    for number in range(0, ROUNDS, 2):
        rows = (rows + hash64(keys, number, columns) % n_rows) % n_rows
        columns = (columns + hash64(keys, number + 1, rows) % n_columns) % n_columns
    return rows * n_columns + columns


def visit(positions: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """Return the item, of n, at each position of an endless stream: each once an epoch, in a new order every epoch."""
    epochs, indices = np.divmod(positions, n)
    return permute(indices, n, hash64(seed, epochs))


class OrderedSource(ABC, Iterator[Item_co], Generic[Item_co]):
    """An endless stream of batches, each a function of its positions; `position`, the next one, is the whole state.

    positions_per_batch: how far a batch moves `position`.
    """

    def __init__(self, positions_per_batch: int) -> None:
        self.positions_per_batch = positions_per_batch
        self.position = 0

    @abstractmethod
    def batch(self, positions: NDArray[np.int64]) -> Item_co:
        """Return the batch of what stands at these positions of the stream."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item_co:
        first, self.position = self.position, self.position + self.positions_per_batch
        return self.batch(np.arange(first, self.position))

    def share(self, n_batches: int, rank: int, n_ranks: int) -> list[Any]:
        """Return one rank's part of the next batches, in batches no larger than usual, and go past all of them.

        The ranks' parts are equally large, and together what one rank would get. Raises UserError where they cannot be.
        """
        first, self.position = self.position, self.position + n_batches * self.positions_per_batch
        positions = np.arange(first, self.position)
        if len(positions) % n_ranks:
            raise UserError(
                f"a step has {len(positions):,} rows, which {n_ranks:,} processes cannot share evenly: start another number "
                "of processes, or make tokens_per_step or micro_batch_size a multiple of them."
            )
        own = positions.reshape(n_ranks, -1)[rank]
        return [self.batch(part) for part in np.array_split(own, -(-n_batches // n_ranks))]

    def state_dict(self) -> dict[str, int]:
        """Return the position, with which a source of the same data, sizes and seed continues exactly here."""
        return {"position": self.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue from a state that `state_dict` returned.

        Raises UserError for any other, such as one of an earlier version of folio.
        """
        if state.keys() != {"position"}:
            raise UserError(
                f"the saved state of the training data holds {', '.join(state) or 'nothing'} instead of a position: "
                "another version of folio wrote it. Continue with that version, or start a new run."
            )
        self.position = state["position"]
