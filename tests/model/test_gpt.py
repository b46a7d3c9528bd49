"""The whole model: what it sees, how it starts, what it costs."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from folio.model.context import CausalContext
from folio.model.gpt import GPT


def close(left, right, atol=1e-4):
    torch.testing.assert_close(left, right, atol=atol, rtol=0)


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


# Start values


def test_a_fresh_untied_model_finds_every_token_equally_likely(config, ids):
    model = GPT(replace(config, tied_embeddings=False))
    loss = F.cross_entropy(model(ids).flatten(0, 1), ids.flatten())
    assert loss.item() == pytest.approx(math.log(config.vocab_size), abs=1e-6)


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
