import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from folio.batch import Batch
from folio.data.windows import RandomWindows, validation_windows
from folio.errors import UserError


def source(n_tokens: int = 100, **options: int) -> RandomWindows:
    """Ids are their own places, so that a batch shows where it was cut."""
    return RandomWindows(torch.arange(n_tokens), **{"block_size": 8, "batch_size": 3, "seed": 1} | options)


def same(left: Batch, right: Batch) -> bool:
    return all(
        torch.equal(getattr(left, name), getattr(right, name)) for name in ("ids", "targets", "weights")
    )


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8])
def test_a_batch_has_each_tokens_follower_as_target(dtype):
    windows = RandomWindows(torch.arange(100).to(dtype), block_size=8, batch_size=3, seed=1)
    for batch in islice(windows, 20):
        assert batch.ids.shape == batch.targets.shape == batch.weights.shape == (3, 8)
        assert batch.ids.dtype == batch.targets.dtype == torch.int64
        assert torch.equal(batch.targets, batch.ids[:, :1] + 1 + torch.arange(8))
        assert torch.equal(batch.ids[:, 1:], batch.targets[:, :-1])
        assert (batch.weights == 1).all()


def epochs_of(windows: RandomWindows, n_epochs: int) -> list[list[int]]:
    """The targets of each epoch of a source of one window a batch."""
    return [
        [int(i) for _ in range(windows.windows_per_epoch) for i in next(windows).targets.flatten()]
        for _ in range(n_epochs)
    ]


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(0, 100), st.integers(0, 2**40))
def test_an_epoch_has_every_target_at_most_once_and_all_but_the_ends(block_size, extra, seed):
    n_tokens = block_size + 1 + extra
    windows = RandomWindows(torch.arange(n_tokens), block_size=block_size, batch_size=1, seed=seed)
    for epoch in epochs_of(windows, 3):
        targets = sorted(epoch)
        assert targets == list(range(targets[0], targets[-1] + 1))
        assert len(targets) > n_tokens - 2 * block_size
        assert targets[0] >= 1
        assert targets[-1] < n_tokens


def test_borders_and_order_change_every_epoch():
    epochs = epochs_of(source(1000, batch_size=1), 20)
    assert len({epoch[0] % 8 for epoch in epochs}) > 4
    assert all(epoch != sorted(epoch) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 20


def test_tokens_are_seen_equally_often():
    seen = Counter(place for epoch in epochs_of(source(1000, batch_size=1), 30) for place in epoch)
    assert {seen[place] for place in range(16, 984)} == {30}
    assert all(seen[place] for place in range(8, 992))


@pytest.mark.parametrize("kind", ["list", "array", "memory map", "int32 tensor"])
def test_ids_may_be_of_any_kind(kind, tmp_path):
    np.arange(100, dtype=np.uint16).tofile(tmp_path / "tokens")
    ids = {
        "list": list(range(100)),
        "array": np.arange(100, dtype=np.uint32),
        "memory map": np.memmap(tmp_path / "tokens", dtype=np.uint16, mode="r"),
        "int32 tensor": torch.arange(100, dtype=torch.int32),
    }[kind]
    windows = RandomWindows(ids, block_size=8, batch_size=3, seed=1, opening=(5, 99))
    expected = RandomWindows(torch.arange(100), block_size=8, batch_size=3, seed=1, opening=(5, 99))
    assert all(same(left, right) for left, right in zip(islice(windows, 9), islice(expected, 9), strict=True))


def test_a_text_of_a_single_window_works():
    batches = list(islice(source(9, batch_size=5), 3))
    assert all(torch.equal(row, torch.arange(8)) for batch in batches for row in batch.ids)


def test_a_text_without_a_window_is_an_error():
    with pytest.raises(UserError, match="has 8 tokens and needs at least 9"):
        source(8)


def test_seeds_decide_the_order():
    first, again, other = (torch.cat([b.ids for b in islice(source(seed=seed), 9)]) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(1, 30), st.integers(9, 60))
def test_resume_continues_exactly(n_before, batch_size, n_tokens):
    uninterrupted = source(n_tokens, batch_size=batch_size)
    for _ in range(n_before):
        next(uninterrupted)
    state = json.loads(json.dumps(uninterrupted.state_dict()))
    resumed = source(n_tokens, batch_size=batch_size)
    next(resumed)
    resumed.load_state_dict(state)
    for left, right in zip(islice(uninterrupted, 10), islice(resumed, 10), strict=True):
        assert same(left, right)
    assert uninterrupted.state_dict() == resumed.state_dict()


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(9, 100))
def test_ranks_can_share_the_positions_of_a_batch(n_ranks, rows, n_tokens):
    whole = source(n_tokens, batch_size=rows * n_ranks)
    positions = np.arange(rows * n_ranks)
    parts = [whole.batch(share).ids for share in np.split(positions, n_ranks)]
    assert torch.equal(torch.cat(parts), next(whole).ids)


@settings(deadline=None)
@given(
    st.integers(2, 200), st.integers(1, 20), st.integers(1, 7), st.sampled_from([torch.int32, torch.int64])
)
def test_validation_covers_every_target_once_in_order(n_tokens, block_size, batch_size, dtype):
    ids = torch.arange(n_tokens, dtype=dtype)
    targets: list[int] = []
    for batch in validation_windows(ids, block_size, batch_size):
        assert batch.ids.shape == batch.targets.shape == batch.weights.shape
        assert 1 <= batch.ids.shape[0] <= batch_size
        assert batch.ids.shape[1] == block_size
        assert batch.ids.dtype == batch.targets.dtype == torch.int64
        assert ((batch.weights == 0) | (batch.weights == 1)).all()
        counted = batch.weights.bool()
        assert torch.equal(batch.ids[counted] + 1, batch.targets[counted])
        targets += batch.targets[counted].tolist()
    assert targets == list(range(1, n_tokens))


def test_an_opening_token_is_replaced_at_window_starts_only():
    ids = torch.arange(1000) % 5
    plain, marked = (
        RandomWindows(ids, block_size=8, batch_size=50, seed=1, opening=opening)
        for opening in (None, (3, 99))
    )
    before, after = next(plain), next(marked)
    begins = before.ids[:, 0] == 3
    assert begins.any()
    assert torch.equal(after.ids[:, 0], torch.where(begins, 99, before.ids[:, 0]))
    assert torch.equal(after.ids[:, 1:], before.ids[:, 1:])
    assert torch.equal(after.targets, before.targets)
