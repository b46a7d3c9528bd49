"""A block: attention, then a feed-forward layer, each added to the residual stream."""

from dataclasses import replace

import torch

from folio.model.context import CausalContext
from folio.model.gpt import GPT


def inputs(model, n_tokens=5):
    """A residual stream, the angles of its positions and what its tokens see."""
    x = torch.randn(2, n_tokens, model.config.n_embd)
    x, angles = model.positions(x, torch.arange(n_tokens))
    return x, angles, CausalContext(x[..., 0])


def test_a_fresh_block_is_the_identity(config, ids):
    model = GPT(config)
    x = torch.randn(2, 5, config.n_embd)
    _, angles = model.positions(x, torch.arange(5))
    for block in model.blocks:
        assert torch.equal(block(x, angles, CausalContext(x[..., 0])), x)


@torch.no_grad()
def test_it_is_the_sum_of_its_parts(model):
    x, angles, context = inputs(model)
    block = model.blocks[1]
    attended = x + block.attention(block.attention_norm(x), angles, context)
    computed = block.mlp(block.mlp_norm(attended))
    torch.testing.assert_close(block(x, angles, context), attended + computed)
    assert computed.abs().max() > 1e-3


@torch.no_grad()
def test_only_attention_lets_positions_meet(model):
    x, angles, context = inputs(model)
    block = model.blocks[0]
    before = block(x, angles, context)
    x[:, 2] = -x[:, 2]
    after = block(x, angles, context)
    assert torch.equal(after[:, :2], before[:, :2])
    assert (after[:, 3:] - before[:, 3:]).abs().amax(dim=-1).min() > 1e-6
    torch.nn.init.zeros_(block.attention.output.weight)
    if block.attention.output.bias is not None:
        torch.nn.init.zeros_(block.attention.output.bias)
    alone = block(x, angles, context)
    x[:, 2] = -x[:, 2]
    torch.testing.assert_close(block(x, angles, context)[:, 3:], alone[:, 3:])


@torch.no_grad()
def test_dropout_acts_on_what_is_added(config, random_model):
    model = random_model(replace(config, dropout=0.999)).train()
    x, angles, context = inputs(model)
    changed = model.blocks[0](x, angles, context) != x
    assert changed.float().mean() < 0.05
