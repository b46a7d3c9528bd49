"""Prompts with what was written after them, as tensors."""

import torch

from folio.batch import Batch, Completions, Loss, Uncounted

PAIRS = [([1, 2, 3], [4, 5]), ([6], [7, 8, 9, 10]), ([11, 12], [13])]


def test_completions_are_padded_at_the_end_and_counted_from_first_to_last():
    batch = Completions.from_pairs(PAIRS, pad_id=99)
    assert batch.ids.tolist() == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 13, 99, 99]]
    assert batch.mask.tolist() == [[0, 0, 0, 1, 1], [0, 1, 1, 1, 1], [0, 0, 1, 0, 0]]
    assert batch.last.tolist() == [4, 4, 2]
    assert batch.n_tokens == 15
    assert (batch.ids.dtype, batch.mask.dtype) == (torch.int64, torch.float32)


def test_a_token_that_looks_like_padding_counts_where_it_was_written():
    batch = Completions.from_pairs([([1], [99, 2, 99]), ([1], [2, 3, 4, 5])], pad_id=99)
    assert batch.mask[0].tolist() == [0, 1, 1, 1, 0]
    assert batch.last[0] == 3


def test_they_go_to_a_device_as_they_are():
    batch = Completions.from_pairs(PAIRS, pad_id=0)
    there = batch.to(torch.device("cpu"))
    assert type(there) is Completions
    assert torch.equal(there.ids, batch.ids)


def test_some_rows_lose_the_columns_that_none_of_them_needs():
    batch = Completions.from_pairs(PAIRS, pad_id=99).rows([2])
    assert batch.ids.tolist() == [[11, 12, 13]]
    assert batch.mask.tolist() == [[0, 0, 1]]
    assert Completions.from_pairs([*PAIRS[:2], ([1, 2], [3])], pad_id=99).rows([2, 0]).ids.tolist() == [
        [1, 2, 3, 99, 99],
        [1, 2, 3, 4, 5],
    ]


def test_rows_by_length():
    batch = Completions.from_pairs([([1], [2] * n) for n in (3, 1, 5, 2)], pad_id=0)
    assert batch.by_length == [1, 3, 0, 2]


def test_rows_by_prompt():
    """Answers to one prompt stand together, the shortest first, and prompts as their longest answer says."""
    pairs = [([1], [2] * 6), ([4, 4], [2]), ([1], [2] * 2), ([5], [2] * 4), ([4, 4], [2] * 3), ([6], [2] * 9)]
    batch = Completions.from_pairs(pairs, pad_id=0)
    assert batch.prompts == [tuple(prompt) for prompt, _ in pairs]
    assert [pairs[row] for row in batch.by_prompt] == [
        ([5], [2] * 4), ([4, 4], [2]), ([4, 4], [2] * 3), ([1], [2] * 2), ([1], [2] * 6), ([6], [2] * 9)
    ]  # fmt: skip
    single = Completions.from_pairs([([row], [2] * n) for row, n in enumerate((3, 1, 5, 2))], pad_id=0)
    assert single.by_prompt == single.by_length


def test_an_uncounted_batch_has_no_tokens_on_any_device():
    batch = Uncounted(Batch.from_windows(torch.zeros((2, 5), dtype=torch.int64)))
    moved = batch.to(torch.device("meta"))
    assert (batch.n_tokens, moved.n_tokens) == (0, 0)
    assert moved.batch.ids.device.type == "meta"


def test_a_loss_times_a_number_is_all_its_sums_times_it():
    weight = torch.tensor(3.0, requires_grad=True)
    loss = Loss(2 * weight, torch.tensor(4.0), {"hits": torch.tensor(1.0)}).times(0)
    loss.total.backward()
    assert (loss.total.item(), loss.count.item(), loss.metrics["hits"].item()) == (0, 0, 0)
    assert weight.grad is not None
    assert weight.grad.item() == 0
