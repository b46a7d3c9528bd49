from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from folio.lecture.ladder import LADDER, LAPTOP, LECTURE, SMALL

V = 65
TINY = replace(SMALL, n_embd=16, n_head=2, n_layer=2, block_size=6)

each_rung = pytest.mark.parametrize("rung", LADDER.values(), ids=LADDER)


def n_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_rungs_have_their_names_and_order():
    lecture = "bigram position single_head multi_head feed_forward residual layer_norm dropout scale_up"
    assert list(LADDER)[:9] == lecture.split()


def test_the_top_of_the_lecture_has_its_number_of_weights():
    with torch.device("meta"):
        assert n_parameters(LADDER["scale_up"].build(V, LECTURE)) == 10_788_929


def test_the_upper_rungs_are_of_one_size():
    assert [name for name, rung in LADDER.items() if rung.size == LAPTOP] == list(LADDER)[8:]


def test_every_rung_is_another_model_or_learns_otherwise():
    with torch.device("meta"):
        known = [(repr(rung.build(V, rung.size)), rung.optimizer, rung.size) for rung in LADDER.values()]
    assert all(below != rung for below, rung in pairwise(known))
    assert len({rung.added for rung in LADDER.values()}) == len(LADDER)


@each_rung
def test_a_rung_scores_every_next_token(rung):
    ids = torch.randint(V, (3, TINY.block_size))
    assert rung.build(V, TINY)(ids).shape == (3, TINY.block_size, V)


@each_rung
def test_no_position_sees_what_comes_later(rung):
    model = rung.build(V, TINY).eval()
    ids = torch.randint(V, (4, TINY.block_size))
    for t in range(1, TINY.block_size):
        changed = torch.cat((ids[:, :t], (ids[:, t:] + 1) % V), dim=1)
        torch.testing.assert_close(model(changed)[:, :t], model(ids)[:, :t], rtol=0, atol=0)
        assert not torch.equal(model(changed)[:, t:], model(ids)[:, t:])


@pytest.mark.parametrize("name", [name for name in LADDER if name not in ("bigram", "position")])
def test_with_attention_every_position_sees_all_of_the_past(name):
    model = LADDER[name].build(V, TINY).eval()
    ids = torch.randint(V, (1, TINY.block_size))
    changed = ids.clone()
    changed[:, 0] = (ids[:, 0] + 1) % V
    assert ((model(changed) - model(ids)).abs().amax(dim=2) > 0).all()


@each_rung
def test_every_weight_learns(rung):
    model = rung.build(V, TINY)
    ids = torch.randint(V, (64, TINY.block_size + 1))  # enough for all tokens to come by
    F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []


@each_rung
def test_only_dropout_is_by_chance(rung):
    model, ids = rung.build(V, TINY), torch.randint(V, (2, TINY.block_size))
    has_dropout = list(LADDER.values()).index(rung) >= list(LADDER).index("dropout")
    assert torch.equal(model(ids), model(ids)) is not has_dropout
    assert torch.equal(model.eval()(ids), model(ids))


@pytest.mark.parametrize("name", [name for name, rung in LADDER.items() if rung.size == LAPTOP])
def test_big_models_begin_with_an_even_guess(name):
    model = LADDER[name].build(V, LADDER[name].size).eval()
    ids = torch.randint(V, (4, 65))
    loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).item()
    assert loss == pytest.approx(4.17, abs=0.7)
