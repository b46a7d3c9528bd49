import numpy as np
import pytest

from folio.hashing import hash64, uniform

ROWS, POSITIONS = np.arange(256), np.arange(1024)


@pytest.fixture(scope="module")
def numbers():
    """(rows, positions) of a sampler's kind: consecutive rows and positions of one seed."""
    return uniform(5, ROWS[:, None], POSITIONS)


def test_bits_are_the_same_on_every_machine():
    assert int(hash64(1, 2, 3)) == 0xD0734750FDE362B3
    assert hash64(1, np.array([2, 3])).tolist() == [13608149317741381227, 9716232063330790915]
    assert hash64(-1) == hash64(2**64 - 1) == hash64(np.array(-1))


def test_words_broadcast_and_each_counts():
    grid = hash64(1, ROWS[:, None], POSITIONS)
    assert grid.shape == (256, 1024)
    assert len(np.unique(grid)) == grid.size
    assert grid[3, 4] == hash64(1, 3, 4) != hash64(1, 4, 3)


def test_a_bit_of_a_word_turns_half_the_bits():
    turned = [
        int(hash64(9, row) ^ hash64(9, row ^ (1 << bit))).bit_count()
        for row in range(50)
        for bit in range(64)
    ]
    assert np.mean(turned) == pytest.approx(32, abs=0.3)
    assert min(turned) > 10


def test_uniform_numbers_are_above_0_and_at_most_1(numbers):
    assert numbers.dtype == np.float32
    assert 0 < numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() <= 1
    assert (numbers * 2**24 % 2 == 1).mean() == pytest.approx(0.5, abs=0.01)  # the last of 24 bits


def test_mean_variance_and_buckets_are_those_of_uniform_numbers(numbers):
    n = numbers.size
    assert numbers.mean(dtype=np.float64) == pytest.approx(0.5, abs=4 * (1 / 12 / n) ** 0.5)
    assert numbers.var(dtype=np.float64) == pytest.approx(1 / 12, abs=4 * (1 / 180 / n) ** 0.5)
    for part in (numbers, numbers[0], numbers[:, 0]):  # of all, of one row, of one position
        counts, _ = np.histogram(part, 16, (0, 1))
        chi_square = ((counts - part.size / 16) ** 2 / (part.size / 16)).sum()
        assert chi_square < 45  # 1 in 10,000 for 15 degrees of freedom


@pytest.mark.parametrize(("rows", "positions"), [(1, 0), (0, 1), (1, 1), (0, 64)])
def test_neighbors_are_independent(numbers, rows, positions):
    one = numbers[: 256 - rows, : 1024 - positions].ravel()
    other = numbers[rows:, positions:].ravel()
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / one.size**0.5
    counts, _, _ = np.histogram2d(one, other, 8, ((0, 1), (0, 1)))
    assert ((counts - one.size / 64) ** 2 / (one.size / 64)).sum() < 115  # 63 degrees of freedom


def test_seeds_give_independent_numbers(numbers):
    other = uniform(6, ROWS[:, None], POSITIONS)
    assert abs(np.corrcoef(numbers.ravel(), other.ravel())[0, 1]) < 4 / other.size**0.5
