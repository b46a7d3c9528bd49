"""Attention, against its formula."""

import pytest
import torch

from folio.model.attention import Attention
from folio.model.config import GPTConfig
from folio.model.context import CausalContext, SegmentContext
from folio.model.positions import POSITIONS

X = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))


def attend(config, context):
    torch.manual_seed(1)
    attention = Attention(config, layer=0)
    _, angles = POSITIONS[config.position](config)(X, context.positions)
    return attention, attention(X, angles, context)


@pytest.mark.parametrize("n_kv_head", [4, 2, 1])
def test_it_is_softmax_of_scaled_products(n_kv_head):
    config = GPTConfig(
        vocab_size=5,
        block_size=8,
        n_head=4,
        n_kv_head=n_kv_head,
        n_embd=16,
        position="learned",
        qk_norm="none",
    )
    attention, y = attend(config, CausalContext(X[..., 0]))
    q, k, v = (
        layer(X).view(2, 6, -1, 4).transpose(1, 2)
        for layer in (attention.query, attention.key, attention.value)
    )
    k, v = (each.repeat_interleave(4 // n_kv_head, dim=1) for each in (k, v))  # (B, H, T, D)
    scores = (q @ k.transpose(-1, -2) / 2).masked_fill(torch.ones(6, 6).triu(1).bool(), -torch.inf)
    expected = attention.output((scores.softmax(-1) @ v).transpose(1, 2).reshape(2, 6, 16))
    torch.testing.assert_close(y, expected)


def test_a_segment_is_what_it_is_alone():
    config = GPTConfig(vocab_size=5, block_size=8, n_head=2, n_embd=16)
    _, whole = attend(config, SegmentContext(torch.tensor([[0, 0, 0, 1, 1, 1]] * 2)))
    _, causal = attend(config, CausalContext(X[..., 0]))
    torch.testing.assert_close(whole[:, :3], causal[:, :3])
    assert not torch.allclose(whole[:, 3:], causal[:, 3:])
