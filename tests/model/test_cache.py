"""Decoding with a cache gives what reading all at once gives."""

import pytest
import torch

from folio.model.cache import KVCache


def close(left, right, atol=1e-4):
    torch.testing.assert_close(left, right, atol=atol, rtol=0)


@torch.no_grad()
def cached_logits(model, parts, padding=None):
    """Logits of all parts, read one after another into one cache."""
    padding = torch.zeros(len(parts[0]), dtype=torch.int64) if padding is None else padding
    cache = KVCache(model.config, padding, torch.float32)
    return torch.cat([model(part, cache.extend(part.shape[1])) for part in parts], dim=1), cache


def test_one_at_a_time_equals_all_at_once(model, ids):
    with torch.no_grad():
        expected = model(ids)
    logits, cache = cached_logits(model, ids.split(1, dim=1))
    close(logits, expected)
    assert cache.length == 20
    assert cache.room == model.config.block_size - 20


@pytest.mark.parametrize("parts", [(20,), (11, 1, 1, 1, 1, 5), (4, 15, 1)])
def test_prefill_in_parts_equals_all_at_once(model, ids, parts):
    with torch.no_grad():
        expected = model(ids)
    logits, _ = cached_logits(model, ids.split(parts, dim=1))
    close(logits, expected)


@pytest.mark.parametrize("parts", [(20,), (12, *[1] * 8), (5, 10, 5)])
def test_rows_of_different_lengths_equal_each_alone(model, ids, parts):
    padding = torch.tensor([0, 9, 4])
    padded = torch.where(torch.arange(20) < padding[:, None], 0, ids)
    logits, _ = cached_logits(model, padded.split(parts, dim=1), padding)
    assert logits.isfinite().all()
    for row, start in enumerate(padding.tolist()):
        with torch.no_grad():
            alone = model(ids[row : row + 1, start:])
        close(logits[row : row + 1, start:], alone)


def test_rows_can_be_copied_and_end_while_a_cache_is_filled(model, ids):
    """As the engine does: prompts are read once, copied to their rows, and the last row takes the place of one that
    has ended."""
    padding = torch.tensor([0, 9, 4])
    _, cache = cached_logits(
        model, [torch.where(torch.arange(12) < padding[:, None], 0, ids[:, :12])], padding
    )
    rows = [2, 0, 0, 1, 2]
    cache.expand_rows(rows, 15)
    assert cache.room == 3
    with torch.no_grad():
        for column, kept in ((12, [0, 4, 2, 3]), (13, [0, 3, 2]), (14, [2])):
            cache.select_rows(kept)
            rows = [rows[place] for place in kept]
            found = model(ids[rows, column : column + 1], cache.extend(1))
            for row, logits in zip(rows, found, strict=True):
                start = int(padding[row])
                close(logits, model(ids[row : row + 1, start : column + 1])[0, -1:])


def test_an_unpadded_step_needs_no_mask_and_padding_counts_no_position(configs):
    plain, padded = (
        KVCache(configs["qwen3"], torch.tensor(padding), torch.float32) for padding in ([0, 0], [0, 2])
    )
    assert torch.equal(plain.extend(3).positions, torch.arange(3))
    assert plain.extend(1).mask is None
    context = padded.extend(4)
    assert context.positions.tolist() == [[0, 1, 2, 3], [0, 0, 0, 1]]
    seen = context.mask[:, 0, -1]  # by the last token of each row
    assert seen.tolist() == [[True, True, True, True], [False, False, True, True]]
    assert context.mask.any(dim=-1).all(), "a softmax over nothing would be NaN"


def test_its_rooms_are_the_columns_asked_for(configs):
    cache = KVCache(configs["llama-grouped-tied"], torch.zeros(3, dtype=torch.int64), torch.bfloat16, 7)
    assert cache.keys.shape == cache.values.shape == (2, 3, 2, 7, 8)  # (L, B, H_kv, columns, D)
    assert cache.keys.dtype == torch.bfloat16
    cache.extend(5)
    assert (cache.length, cache.room) == (5, 2)
