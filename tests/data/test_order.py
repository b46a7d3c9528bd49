import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folio.data.order import OrderedSource, permute, visit
from folio.errors import UserError
from folio.hashing import hash64

SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 97, 101, 1009, *(2**k + d for k in (4, 6, 10, 13) for d in (-1, 0, 1))]


class Numbers(OrderedSource[list[int]]):
    """Gives its positions."""

    def batch(self, positions):
        return positions.tolist()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("key", [0, 1, 2**63])
def test_every_index_has_one_place(n, key):
    assert sorted(permute(np.arange(n), n, key)) == list(range(n))


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_every_index_has_one_place_whatever_size_and_key(n, key):
    assert np.array_equal(np.sort(permute(np.arange(n), n, key)), np.arange(n))


def test_a_place_does_not_depend_on_what_is_asked_beside_it():
    whole = permute(np.arange(1000), 1000, 7)
    assert [int(permute(np.array(i), 1000, 7)) for i in (0, 1, 500, 999)] == whole[[0, 1, 500, 999]].tolist()
    keyed = permute(np.array([3, 3]), 1000, np.array([7, 8]))
    assert keyed.tolist() == [permute(np.array([3]), 1000, key)[0] for key in (7, 8)]


def test_order_is_the_same_on_every_machine():
    assert permute(np.arange(10), 10, 1).tolist() == [4, 5, 8, 0, 1, 3, 2, 7, 6, 9]


def test_a_huge_range_takes_no_memory():
    n = 10**15
    places = permute(np.arange(n - 1000, n), n, 3)
    assert len(set(places.tolist())) == 1000
    assert 0 <= places.min() < n / 100
    assert n * 0.99 < places.max() < n


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_all_orders_of_a_few_come_equally_often(n):
    keys = 200 * math.factorial(n)
    orders = Counter(
        map(tuple, permute(np.tile(np.arange(n), (keys, 1)), n, np.arange(keys)[:, None]).tolist())
    )
    degrees = math.factorial(n) - 1
    chi_square = sum((count - 200) ** 2 / 200 for count in orders.values())
    assert len(orders) == degrees + 1
    assert chi_square < degrees + 5 * math.sqrt(2 * degrees)


@pytest.mark.parametrize("n", [1000, 1009, 1024, 4097])
def test_an_order_looks_random(n):
    places = permute(np.arange(n), n, 11)
    assert abs(np.corrcoef(places, np.arange(n))[0, 1]) < 4 / math.sqrt(n)
    assert abs(np.corrcoef(places[1:], places[:-1])[0, 1]) < 4 / math.sqrt(n)
    assert (places == np.arange(n)).sum() < 8  # a Poisson number around 1
    assert (np.abs(np.diff(places)) == 1).sum() < 12  # around 2
    _, counts = np.unique(np.diff(places), return_counts=True)
    assert counts.max() < 12
    # Which items come in the first eighth: about an eighth of each eighth.
    counts, _ = np.histogram(places[: n // 8], 8, (0, n))
    assert ((counts - n / 64) ** 2 / (n / 64)).sum() < 30


def test_keys_give_orders_that_have_nothing_in_common():
    one, two = (permute(np.arange(5000), 5000, key) for key in (1, 2))
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / math.sqrt(5000)
    assert (one == two).sum() < 8


@given(st.integers(1, 50), st.integers(0, 3))
def test_a_stream_has_every_item_once_an_epoch(n, seed):
    items = visit(np.arange(3 * n), n, seed).reshape(3, n)
    assert (np.sort(items) == np.arange(n)).all()
    assert items[1].tolist() == permute(np.arange(n), n, hash64(seed, 1)).tolist()


def test_epochs_and_seeds_have_orders_of_their_own():
    items = [visit(np.arange(60), 30, seed).reshape(2, 30) for seed in (0, 1)]
    assert len({tuple(order.tolist()) for both in items for order in both}) == 4


def test_a_source_counts_its_positions():
    source = Numbers(3)
    assert [next(source), next(source)] == [[0, 1, 2], [3, 4, 5]]
    other = Numbers(3)
    other.load_state_dict(source.state_dict())
    assert source.state_dict() == {"position": 6}
    assert next(other) == next(source) == [6, 7, 8]


@pytest.mark.parametrize("n_batches", [1, 2, 3, 8])
def test_ranks_share_the_batches_of_one(n_batches):
    """However many they are, and where their number changes on the way."""
    source = Numbers(8)
    for step, n_ranks in enumerate((1, 2, 8, 4, 1)):
        state, parts = source.state_dict(), []
        for rank in range(n_ranks):
            source.load_state_dict(state)
            parts.append(source.share(n_batches, rank, n_ranks))
        rows = [row for part in parts for batch in part for row in batch]
        first = 8 * n_batches * step
        assert rows == list(range(first, first + 8 * n_batches))
        assert len({sum(map(len, part)) for part in parts}) == 1
        assert max(len(batch) for part in parts for batch in part) <= 8
        assert source.state_dict() == {"position": first + 8 * n_batches}


def test_one_rank_gets_the_batches_as_they_are():
    one, other = Numbers(3), Numbers(3)
    assert one.share(2, 0, 1) == [next(other), next(other)]


def test_rows_that_cannot_be_shared_evenly_are_refused():
    with pytest.raises(UserError, match="6 rows, which 4 processes cannot share evenly"):
        Numbers(3).share(2, 0, 4)


@pytest.mark.parametrize("state", [{}, {"seed": 1, "epoch": 2, "position": 3}, {"epoch": 1}])
def test_a_state_of_another_version_is_refused(state):
    with pytest.raises(UserError, match="instead of a position: another version"):
        Numbers(3).load_state_dict(state)
