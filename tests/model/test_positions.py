"""Positions: learned and rotary."""

from dataclasses import replace

import torch

from folio.model.config import GPTConfig, RopeScaling
from folio.model.gpt import GPT
from folio.model.positions import POSITIONS

CONFIG = GPTConfig(vocab_size=5, block_size=16, n_layer=1, n_head=2, n_embd=16)


def rotated(x, positions):
    _, angles = POSITIONS["rotary"](CONFIG)(torch.zeros(1, len(positions), 16), positions)
    return POSITIONS["rotary"].rotate(x, angles)


def test_rotary_products_depend_on_the_distance_alone():
    q, k = torch.randn(2, 1, 1, 2, 8, generator=torch.Generator().manual_seed(0))
    products = [
        (rotated(q, torch.tensor([i])) * rotated(k, torch.tensor([j]))).sum(-1)
        for i, j in ((5, 2), (9, 6), (3, 0))
    ]
    torch.testing.assert_close(products[0], products[1])
    torch.testing.assert_close(products[0], products[2])


def test_rotary_keeps_lengths_and_position_0():
    x = torch.randn(1, 3, 2, 8, generator=torch.Generator().manual_seed(1))
    y = rotated(x, torch.arange(3))
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(y[:, 0], x[:, 0])


def test_learned_positions_are_added():
    learned = POSITIONS["learned"](CONFIG)
    x, positions = torch.zeros(1, 3, 16), torch.tensor([4, 0, 4])
    y, angles = learned(x, positions)
    assert torch.equal(y[0, 0], y[0, 2])
    assert torch.equal(y[0, 1], learned.embedding.weight[0])
    assert learned.rotate(x, angles) is x


def test_scaling_slows_down_slow_rotations_and_keeps_fast_ones():
    scaling = RopeScaling(factor=8, low_freq_factor=1, high_freq_factor=4, original_block_size=64)
    plain, scaled = (
        POSITIONS["rotary"](replace(CONFIG, head_size=32, rope_scaling=each)).frequencies
        for each in (None, scaling)
    )
    ratio = scaled / plain
    turns = 64 * plain / (2 * torch.pi)
    torch.testing.assert_close(ratio[turns > 4], torch.ones(int((turns > 4).sum())))
    torch.testing.assert_close(ratio[turns < 1], torch.full((int((turns < 1).sum()),), 1 / 8))
    assert (ratio.diff() <= 0).all()


def test_a_long_context_takes_no_memory_until_it_is_used():
    model = GPT(replace(CONFIG, block_size=2**24))
    assert sum(each.numel() for each in (*model.parameters(), *model.buffers())) < 5000
    assert model(torch.tensor([[1, 2, 3]])).shape == (1, 3, 5)
