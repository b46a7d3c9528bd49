"""What rows of a cache attend to, whatever has been read in one pass: each row as if it were alone and read at once."""

import pytest
import torch
import torch.nn.functional as F

from folio.model.cache import PIECE, SPAN, KVCache

N_ROWS, T = 19, 40
LENGTHS = [(7 * row) % 33 + 1 for row in range(N_ROWS)]


def text(config, seed):
    """Queries (T, H, D), and keys, then values, (T, 2 * H_kv, D), of every layer: a row's whole text."""
    generator = torch.Generator().manual_seed(seed)
    H, H_kv, D = config.n_head, config.n_kv_head, config.head_size
    return (
        torch.randn(config.n_layer, T, H, D, generator=generator),
        torch.randn(config.n_layer, T, 2 * H_kv, D, generator=generator),
    )


def at_once(config, queries, kv, layer):
    """The attention of a row that is read in one piece: (T, H * D)."""
    q = queries[layer].transpose(0, 1)[None]
    k, v = (half.transpose(0, 1)[None] for half in kv[layer].chunk(2, dim=1))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return y[0].transpose(0, 1).flatten(1)


@pytest.fixture
def cache(config):
    return KVCache(config, N_ROWS, 1, torch.float32, torch.device("cpu"))


@pytest.fixture
def texts(config):
    return [text(config, seed) for seed in range(N_ROWS)]


def read(cache, texts, singles, pieces):
    """Read one token of some rows and several of others in one pass; return what each attends to in the last layer.

    singles: position by row. pieces: row, first position and last one + 1 of each.
    """
    n_single = max(singles, default=-1) + 1
    rows = [row if row in singles else cache.unread for row in range(n_single)]
    positions = [singles.get(row, 0) for row in range(n_single)]
    sources = [(row if row in singles else 0, positions[row]) for row in range(n_single)]
    for row, first, stop in pieces:
        rows += [row] * (stop - first)
        positions += range(first, stop)
        sources += [(row, position) for position in range(first, stop)]
    return attend(cache.context(rows, positions, n_single), texts, sources)


def attend(context, texts, sources):
    for layer in range(len(texts[0][0])):
        q = torch.stack([texts[row][0][layer, position] for row, position in sources])
        kv = torch.stack([texts[row][1][layer, position] for row, position in sources])
        y = context.attend(layer, q, kv)
    return y


def test_pieces_and_single_tokens_of_rows_attend_to_their_own_row_alone(config, cache, texts):
    cache.reserve(T)
    expected = [at_once(config, *each, config.n_layer - 1) for each in texts]
    for row in range(0, N_ROWS, 2):
        found = read(cache, texts, {}, [(row, 0, LENGTHS[row])])
        torch.testing.assert_close(found, expected[row][: LENGTHS[row]], atol=1e-5, rtol=1e-5)
    # Even rows have begun, and read a token each; odd ones begin in the same pass, in two pieces of one.
    singles = {row: LENGTHS[row] for row in range(0, N_ROWS, 2)}
    found = read(cache, texts, singles, [(1, 0, 5), (3, 0, 30)])
    for row, position in singles.items():
        torch.testing.assert_close(found[row], expected[row][position], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[N_ROWS : N_ROWS + 5], expected[1][:5], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[N_ROWS + 5 :], expected[3][:30], atol=1e-5, rtol=1e-5)


def test_advancing_is_making_a_new_context(config, cache, texts):
    cache.reserve(T)
    rows = [0, 1, cache.unread, 3]
    for row in (0, 1, 3):
        read(cache, texts, {}, [(row, 0, 10 + row)])
    context = cache.context(rows, [10, 11, 0, 13], 4)
    for step in range(SPAN + 2):
        if step:
            context.advance()
        positions = [10 + step, 11 + step, 0, 13 + step]
        assert context.positions.tolist() == positions
        sources = [(0 if row == cache.unread else row, at) for row, at in zip(rows, positions, strict=True)]
        found = attend(context, texts, sources)
        for row in (0, 1, 3):
            expected = at_once(config, *texts[row], config.n_layer - 1)[positions[row]]
            torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-5)


def test_a_token_rounds_alike_in_whatever_it_is_read_with(cache, texts):
    """A piece, one token at a time, alone or among longer rows: with the same number of columns or more."""
    cache.reserve(T)
    read(cache, texts, {}, [(0, 0, 20)])
    together = read(cache, texts, {}, [(0, 12, 20)])
    apart = torch.cat([read(cache, texts, {0: position}, []) for position in range(12, 20)])
    read(cache, texts, {}, [(1, 0, 35)])
    beside = torch.stack([read(cache, texts, {0: position, 1: 35}, [])[0] for position in range(12, 20)])
    torch.testing.assert_close(apart, together, atol=1e-6, rtol=0)
    torch.testing.assert_close(beside, together, atol=1e-6, rtol=0)


def test_long_pieces_are_cut(configs, texts):
    """So that the first tokens need not look at as many columns as the last ones."""
    config = configs["qwen3"]
    n = PIECE + 8
    cache = KVCache(config, 1, n, torch.float32, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(n, config.n_head, config.head_size, generator=generator)
    kv = torch.randn(n, 2 * config.n_kv_head, config.head_size, generator=generator)
    found = cache.context([0] * n, list(range(n)), 0).attend(0, q, kv)
    torch.testing.assert_close(found, at_once(config, q[None], kv[None], 0), atol=1e-5, rtol=1e-5)


def test_rows_are_copied_saved_and_loaded(cache, texts):
    cache.reserve(T)
    read(cache, texts, {}, [(5, 0, 9)])
    cache.copy(5, 2, 9)
    saved = cache.save(2, 7)
    cache.load(0, saved, 6)
    assert saved.shape[2] == 7
    read(cache, texts, {}, [(2, 0, 3)])
    expected = read(cache, texts, {5: 6}, [])[5]
    swapped = [texts[5], *texts[1:]]
    torch.testing.assert_close(read(cache, swapped, {0: 6}, [])[0], expected)


def test_room_can_be_added_and_what_was_read_stays(cache, texts):
    read(cache, texts, {}, [(0, 0, SPAN)])
    assert cache.n_columns == SPAN
    before = cache.save(0, SPAN)
    cache.reserve(3)
    assert cache.n_columns == SPAN
    cache.reserve(SPAN + 1)
    assert cache.n_columns == 2 * SPAN
    assert torch.equal(cache.save(0, SPAN), before)
    read(cache, texts, {0: SPAN}, [])


def test_it_is_made_of_zeros_in_any_precision(configs):
    for dtype in (torch.float32, torch.bfloat16):
        cache = KVCache(configs["llama-grouped-tied"], 3, 7, dtype, torch.device("cpu"))
        assert cache.store.dtype == dtype
        assert not cache.store.any()
        assert cache.save(0, 7).shape == (2, 4, 7, 8)  # (L, 2 * H_kv, n, D)
