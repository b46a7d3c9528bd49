"""The model on one page is the ladder's rung `scale_up`."""

import pytest
import torch
import torch.nn.functional as F

from folio.lecture.gpt import GPT
from folio.lecture.ladder import LADDER, LAPTOP
from folio.lecture.parts import generate

V = 65


def n_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def of_laptop_size():
    s = LAPTOP
    return GPT(V, s.block_size, s.n_layer, s.n_head, s.n_embd, s.dropout).eval()


@pytest.fixture
def rung():
    """The rung with every weight random, so that nothing hides behind a one or a zero."""
    model = LADDER["scale_up"].build(V, LAPTOP).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.1)
    return model


@pytest.fixture
def gpt(rung):
    """The model on one page with the rung's weights."""
    model = of_laptop_size()
    model.tokens.load_state_dict(rung.embed.tokens.state_dict())
    model.positions.load_state_dict(rung.embed.positions.state_dict())
    *layers, norm = rung.body
    for block, attend, think in zip(model.blocks, layers[::2], layers[1::2], strict=True):
        attention_norm, (heads, output), _ = attend.parts
        block.attention_norm.load_state_dict(attention_norm.state_dict())
        for name in ("query", "key", "value"):
            rows = torch.cat([getattr(head, name).weight for head in heads])
            getattr(block.attention, name).load_state_dict({"weight": rows})
        block.attention.output.load_state_dict(output.state_dict())
        feed_forward_norm, (up, _, down), _ = think.parts
        block.feed_forward_norm.load_state_dict(feed_forward_norm.state_dict())
        block.feed_forward.up.load_state_dict(up.state_dict())
        block.feed_forward.down.load_state_dict(down.state_dict())
    model.norm.load_state_dict(norm.state_dict())
    model.head.load_state_dict(rung.head.state_dict())
    return model


def test_it_has_as_many_parameters_as_the_rung(rung):
    assert n_parameters(of_laptop_size()) == n_parameters(rung) == 816_705


@pytest.mark.parametrize("T", [1, 7, LAPTOP.block_size])
def test_it_gives_the_logits_of_the_rung(gpt, rung, T):
    ids = torch.randint(V, (3, T))
    torch.testing.assert_close(gpt(ids), rung(ids), rtol=0, atol=1e-5)


def test_its_loss_is_the_mean_over_all_positions(gpt):
    ids = torch.randint(V, (2, 9))
    logprobs = F.log_softmax(gpt(ids[:, :-1]), dim=-1)
    expected = -torch.stack([logprobs[b, t, ids[b, t + 1]] for b in range(2) for t in range(8)]).mean()
    torch.testing.assert_close(gpt.loss(ids[:, :-1], ids[:, 1:]), expected)


def test_it_generates_what_the_rung_generates(gpt, rung):
    ids = torch.randint(V, (2, LAPTOP.block_size - 2))  # it soon reads the last block only
    torch.manual_seed(1)
    expected = generate(rung, ids, 5, LAPTOP.block_size)
    torch.manual_seed(1)
    assert gpt.generate(ids, 5).tolist() == expected.tolist()


def test_dropout_is_where_the_rung_has_it(gpt, rung):
    assert [each.p for each in gpt.modules() if isinstance(each, torch.nn.Dropout)] == [0.1] * 8
    ids = torch.randint(V, (2, 5))
    assert not torch.equal(gpt.train()(ids), gpt(ids))
    assert torch.equal(gpt.eval()(ids), gpt(ids))
