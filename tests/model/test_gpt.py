import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from folio.errors import UserError
from folio.model.cache import KVCache
from folio.model.config import GPTConfig
from folio.model.context import CausalContext
from folio.model.gpt import GPT


def close(left, right, atol=1e-4):
    torch.testing.assert_close(left, right, atol=atol, rtol=0)


@torch.no_grad()
def cached_logits(model, parts, padding=None):
    """Logits of all parts, read one after another into one cache."""
    padding = torch.zeros(len(parts[0]), dtype=torch.int64) if padding is None else padding
    cache = KVCache(model.config, padding, torch.float32)
    return torch.cat([model(part, cache.extend(part.shape[1])) for part in parts], dim=1), cache


# Invariants of the whole model


@torch.no_grad()
def test_a_position_sees_nothing_that_comes_after_it(model, ids):
    before = model(ids)
    for changed in (0, 7, 19):
        other = ids.clone()
        other[:, changed] = (other[:, changed] + 1) % model.config.vocab_size
        after = model(other)
        close(after[:, :changed], before[:, :changed], atol=1e-5)
        assert (after[:, changed:] - before[:, changed:]).abs().amax(dim=(0, 2)).min() > 1e-4


@torch.no_grad()
def test_rows_of_a_batch_do_not_meet(model, ids):
    together = model(ids)
    for row in range(len(ids)):
        close(model(ids[row : row + 1]), together[row : row + 1])


@torch.no_grad()
def test_gradients_reach_every_parameter(config, random_model, ids):
    model = random_model(config).train()
    with torch.enable_grad():
        F.cross_entropy(model(ids).flatten(0, 1), ids.roll(-1, 1).flatten()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        # The same number added to all of a query's scores changes no softmax, so a key's bias learns nothing
        # unless rotation makes it differ from place to place.
        if not (name.endswith("key.bias") and config.position == "learned"):
            assert parameter.grad.abs().max() > 1e-7, name


@torch.no_grad()
def test_dropout_acts_in_training_only(config, random_model, ids):
    plain, dropping = random_model(config), random_model(replace(config, dropout=0.5))
    assert torch.equal(dropping(ids), plain(ids))
    dropping.train()
    assert not torch.equal(dropping(ids), dropping(ids))


@torch.no_grad()
def test_attention_weights_are_not_dropped(config, random_model, ids):
    """Dropout on them would rule out the fused kernels."""
    attention = random_model(replace(config, dropout=0.5)).train().blocks[0].attention
    x = torch.randn(3, 20, config.n_embd)
    _, angles = random_model(config).positions(x, torch.arange(20))
    outputs = [attention(x, angles, CausalContext(ids)) for _ in range(2)]
    assert torch.equal(*outputs)


@torch.no_grad()
def test_bfloat16_is_near_float32(model, ids):
    exact = model(ids)
    model.compute_dtype = torch.bfloat16
    rounded = model(ids)
    assert rounded.dtype == torch.bfloat16
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    # bfloat16 keeps 8 bits: half a percent at each of a few roundings.
    assert (rounded.float() - exact).pow(2).mean().sqrt() < 0.03 * exact.std()


# Decoding with a cache


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


# Start values


def test_a_fresh_untied_model_finds_every_token_equally_likely(config, ids):
    model = GPT(replace(config, tied_embeddings=False))
    loss = F.cross_entropy(model(ids).flatten(0, 1), ids.flatten())
    assert loss.item() == pytest.approx(math.log(config.vocab_size), abs=1e-6)


def test_a_fresh_block_is_the_identity(config, ids):
    model = GPT(config)
    x = torch.randn(2, 5, config.n_embd)
    _, angles = model.positions(x, torch.arange(5))
    for block in model.blocks:
        assert torch.equal(block(x, angles, CausalContext(x[..., 0])), x)


def test_start_values_are_those_of_the_table(configs):
    spread = {"embedding": 1.0, **dict.fromkeys(("query", "key", "value", "gate", "up"), 256**-0.5)}
    for kind in ("gpt2", "llama-bias", "qwen3"):
        sizes = {"n_embd": 256, "mlp_size": 256, "n_head": 8, "n_kv_head": 8, "head_size": 32}
        model = GPT(replace(configs[kind], **sizes, tied_embeddings=False))
        for name, parameter in model.named_parameters():
            part, ending = name.split(".")[-2:]
            if part in spread and ending == "weight":
                assert parameter.std().item() == pytest.approx(spread[part], rel=0.05), name
                assert parameter.mean().abs() < 0.1 * spread[part], name
            else:
                expected = 1.0 if part.endswith("norm") and ending == "weight" else 0.0
                assert (parameter == expected).all(), name


def test_tied_embeddings_start_small_enough_for_a_head(configs):
    embedding = GPT(replace(configs["gpt2"], n_embd=256, tied_embeddings=True)).embedding.weight
    assert embedding.std().item() == pytest.approx(0.02, rel=0.05)


def test_tied_embeddings_are_one_parameter(configs):
    tied, untied = (GPT(configs[name]) for name in ("gpt2", "gpt2-untied"))
    assert tied.head.weight is tied.embedding.weight
    assert untied.n_parameters - tied.n_parameters == 97 * 32
    assert (
        tied.n_parameters == 97 * 32 + 32 * 32 + 2 * (4 * 32 * 33 + 2 * 32 * 80 + 80 + 32 + 4 * 32) + 2 * 32
    )


# Sizes


def test_flops_per_token_are_those_that_torch_counts(config, ids):
    model = GPT(config)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(ids).sum().backward()
    # torch counts all T x T scores; we count the causal half of them.
    other_half = 6 * config.n_layer * config.n_head * config.head_size * ids.shape[1]
    assert counter.get_total_flops() == ids.numel() * (model.flops_per_token(ids.shape[1]) + other_half)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_layer": 0}, "n_layer is 0: it must be at least 1"),
        ({"vocab_size": -5}, "vocab_size is -5"),
        ({"n_head": 4, "n_kv_head": 3}, r"n_head \(4\) must be a multiple of n_kv_head \(3\)"),
        ({"head_size": 15}, "head_size is 15: .* even"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        GPTConfig(**{"vocab_size": 10} | changes)


def test_learned_positions_allow_odd_heads(configs):
    assert replace(configs["gpt2"], head_size=7).head_size == 7
