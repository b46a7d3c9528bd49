import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from folio.lecture.parts import (
    Head,
    LanguageModel,
    Parallel,
    Residual,
    Rotary,
    SwiGLU,
    TiedHead,
    TokensAndPositions,
    average_by_loop,
    average_by_matrix,
    average_by_softmax,
    generate,
)


@pytest.mark.parametrize("average", [average_by_loop, average_by_matrix, average_by_softmax])
def test_three_ways_to_average_the_past_give_the_same_numbers(average):
    x = torch.randn(2, 7, 3)
    for t in range(7):
        torch.testing.assert_close(average(x)[:, t], sum(x[:, i] for i in range(t + 1)) / (t + 1))


@pytest.mark.parametrize("T", [1, 5])
def test_a_head_is_attention(T):
    head, x = Head(n_embd=6, head_size=4), torch.randn(2, T, 6)
    q, k, v = head.query(x), head.key(x), head.value(x)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(head(x), expected)


def test_a_head_whose_queries_are_zero_averages_the_past():
    head, x = Head(n_embd=3, head_size=3), torch.randn(2, 5, 3)
    nn.init.zeros_(head.query.weight)
    torch.testing.assert_close(head(x), average_by_loop(head.value(x)))


def test_dropped_weights_are_zero_and_the_others_grow():
    torch.manual_seed(0)
    head = Head(n_embd=2, head_size=2, dropout=0.5)
    nn.init.zeros_(head.query.weight)
    nn.init.eye_(head.value.weight)
    x = torch.eye(2)[None].repeat(200, 1, 1)  # so that the last position's output is its weights
    seen = head(x)[:, 1].flatten().unique()
    assert seen.tolist() == [0.0, 1.0]  # 0.5 / (1 - 0.5), or nothing
    torch.testing.assert_close(head.eval()(x)[0, 1], torch.tensor([0.5, 0.5]))


def test_parallel_parts_stand_side_by_side():
    parts, x = [nn.Linear(3, 2), nn.Linear(3, 4)], torch.randn(2, 5, 3)
    assert Parallel(parts)(x).shape == (2, 5, 6)
    torch.testing.assert_close(Parallel(parts)(x)[..., 2:], parts[1](x))


def test_a_residual_adds():
    double, x = nn.Linear(3, 3, bias=False), torch.randn(2, 3)
    double.weight.data = 2 * torch.eye(3)
    torch.testing.assert_close(Residual(double, double)(x), 5 * x)


def test_positions_tell_the_same_token_apart():
    embed = TokensAndPositions(vocab_size=3, block_size=4, n_embd=2)
    x = embed(torch.tensor([[1, 1]]))
    torch.testing.assert_close(x[0, 1] - x[0, 0], embed.positions.weight[1] - embed.positions.weight[0])


def test_a_tied_head_learns_with_the_embedding():
    embed = nn.Embedding(5, 3)
    head = TiedHead(embed.weight)
    model = LanguageModel(embed, nn.Identity(), head)
    assert sum(parameter.numel() for parameter in model.parameters()) == 15
    scores = model(torch.tensor([[2]]))
    torch.testing.assert_close(scores[0, 0], embed.weight @ embed.weight[2])


@pytest.mark.parametrize(("first", "second", "shift"), [(0, 3, 5), (4, 4, 7), (9, 2, 1)])
def test_turned_queries_and_keys_meet_by_their_distance(first, second, shift):
    q, k = torch.randn(2, 8)
    rotary = Rotary()
    turned_q, turned_k = (rotary(each.expand(1, 20, 8))[0] for each in (q, k))
    here, there = (turned_q[first + n] @ turned_k[second + n] for n in (0, shift))
    torch.testing.assert_close(here, there)
    torch.testing.assert_close(turned_q.norm(dim=-1), q.norm().expand(20))


def test_the_first_pair_turns_by_a_radian_a_position():
    turned = Rotary()(torch.tensor([1.0, 0.0]).expand(1, 4, 2))
    expected = [[math.cos(t), math.sin(t)] for t in range(4)]
    torch.testing.assert_close(turned[0], torch.tensor(expected))


def test_swiglu_weighs_as_much_as_a_layer_four_times_as_wide():
    assert sum(parameter.numel() for parameter in SwiGLU(48).parameters()) == 2 * 48 * 4 * 48


def test_generating_follows_the_probabilities():
    table = nn.Embedding(3, 3)
    nn.init.constant_(table.weight, -100.0)
    with torch.no_grad():
        for token, follower in enumerate((1, 2, 0)):
            table.weight[token, follower] = 100.0
    model = LanguageModel(table, nn.Identity(), nn.Identity())
    assert generate(model, torch.tensor([[0], [1]]), 4, block_size=1).tolist() == [
        [0, 1, 2, 0, 1],
        [1, 2, 0, 1, 2],
    ]


def test_generating_reads_no_more_than_a_block():
    lengths = []

    class Watching(nn.Module):
        def forward(self, ids):
            lengths.append(ids.shape[1])
            return torch.zeros(*ids.shape, 2)

    generate(
        LanguageModel(Watching(), nn.Identity(), nn.Identity()), torch.zeros(1, 1).long(), 5, block_size=3
    )
    assert lengths == [1, 2, 3, 3, 3]
