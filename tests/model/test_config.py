"""Sizes and parts of a model: what is filled in, what is refused."""

from dataclasses import replace

import pytest

from folio.errors import UserError
from folio.model.config import GPTConfig


def test_sizes_that_are_not_given_follow_from_the_others():
    config = GPTConfig(vocab_size=10, n_head=4, n_embd=96)
    assert (config.n_kv_head, config.head_size, config.mlp_size) == (4, 24, 256)
    assert GPTConfig(vocab_size=10, n_embd=96, mlp="gelu").mlp_size == 4 * 96
    assert replace(config, n_kv_head=2, head_size=8).n_kv_head == 2


@pytest.mark.parametrize("n_embd", [96, 192, 384])
def test_a_gate_costs_no_weights(n_embd):
    gated, plain = (GPTConfig(vocab_size=10, n_embd=n_embd, mlp=mlp) for mlp in ("swiglu", "gelu"))
    assert 3 * n_embd * gated.mlp_size == 2 * n_embd * plain.mlp_size == 8 * n_embd**2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_layer": 0}, "n_layer is 0: it must be at least 1"),
        ({"vocab_size": -5}, "vocab_size is -5"),
        ({"n_layer": 1_000_000}, "n_layer is 1000000: it must be at least 1 and at most 1,000"),
        ({"n_embd": 2**21}, "n_embd is 2097152"),
        ({"block_size": 2**25}, "block_size is 33554432"),
        ({"norm_eps": float("nan")}, "norm_eps is nan"),
        ({"rope_theta": 0.0}, "rope_theta is 0.0"),
        ({"n_head": 4, "n_kv_head": 3}, r"n_head \(4\) must be a multiple of n_kv_head \(3\)"),
        ({"head_size": 15}, "head_size is 15: .* even"),
        ({"bias": True}, "bias is True: it must be 'none' or 'qkv' or 'attention' or 'all'"),
        ({"mlp": "relu"}, "mlp is 'relu': it must be 'swiglu' or "),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        GPTConfig(**{"vocab_size": 10} | changes)


def test_learned_positions_allow_odd_heads(configs):
    assert replace(configs["gpt2"], head_size=7).head_size == 7
