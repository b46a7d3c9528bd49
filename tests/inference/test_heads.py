"""Where heads look, and models without some of them."""

import math

import pytest
import torch
from chatty import make_chatty

from folio.errors import UserError
from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.inference.heads import attention_statistics, head_statistics, last_attention, without_heads
from folio.inference.inspection import inspect, logprobs
from folio.inference.sampling import SamplingConfig


@pytest.fixture
def ids():
    """Few tokens, so that they repeat."""
    return torch.randint(7, (20,), generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _evaluation(model):
    model.eval()


def mean(numbers):
    return sum(numbers) / len(numbers) if numbers else math.nan


def naive(weights, ids):
    """The statistics of one head (T, T), term by term."""
    previous, first, itself, same, after, entropy = [], [], [], [], [], []
    for t in range(1, len(ids)):
        row = weights[t]
        previous.append(row[t - 1])
        first.append(row[0])
        itself.append(row[t])
        again = [s for s in range(t) if ids[s] == ids[t]]
        if again:
            same.append(sum(row[s] for s in again))
        following = [s + 1 for s in again if s + 1 < t]
        if following:
            after.append(sum(row[s] for s in following))
        entropy.append(-sum(p * math.log(p) for p in row[: t + 1] if p > 0))
    return [mean(numbers) for numbers in (previous, first, itself, same, after, entropy)]


def numbers(statistics, *place):
    names = ("previous", "first", "itself", "same", "after", "entropy")
    return [getattr(statistics, name)[place].item() for name in names]


def test_the_last_attention_is_the_last_row_of_every_layer(model, ids):
    rows = last_attention(model, ids)
    assert rows.shape == (model.config.n_layer, model.config.n_head, len(ids))
    for layer, row in enumerate(rows):
        torch.testing.assert_close(row, inspect(model, ids, layer).attention[:, -1])


def test_statistics_are_those_of_a_loop(model, ids):
    statistics = head_statistics(model, ids)
    assert statistics.entropy.shape == (model.config.n_layer, model.config.n_head)
    for layer in range(model.config.n_layer):
        for head, weights in enumerate(inspect(model, ids, layer).attention.tolist()):
            expected = naive(weights, ids.tolist())
            assert numbers(statistics, layer, head) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_head_of_each_kind():
    ids = torch.tensor([5, 6, 7, 5, 6])
    previous = torch.eye(5).roll(1, 0)
    previous[0] = torch.eye(5)[0]
    induction = torch.eye(5)[[0, 0, 0, 1, 2]]
    statistics = attention_statistics(torch.stack([previous, torch.eye(5), induction]), ids)
    assert statistics.previous.tolist() == [1, 0, 0.25]
    assert statistics.itself.tolist() == [0, 1, 0]
    assert statistics.after.tolist() == [0, 0, 1]
    assert statistics.first.tolist() == [0.25, 0, 0.5]
    assert statistics.same.tolist() == [0, 0, 0]
    assert statistics.entropy.tolist() == [0, 0, 0]


def test_what_a_text_does_not_have_is_no_number(model):
    alone = head_statistics(model, [3])
    assert all(math.isnan(number) for number in numbers(alone, 0, 0))
    distinct = head_statistics(model, [3, 4, 5])
    assert distinct.same.isnan().all()
    assert distinct.after.isnan().all()
    assert not distinct.previous.isnan().any()


def test_without_all_heads_attention_adds_nothing(model, ids):
    """But for the bias of the output projection."""
    added = []
    for block in model.blocks:
        block.attention.register_forward_hook(lambda part, _, out: added.append((part, out)))
    everything = [(layer, head) for layer in range(2) for head in range(4)]
    with without_heads(model, everything), torch.no_grad():
        model(ids[None])
    assert len(added) == 2
    for part, out in added:
        bias = 0 if part.output.bias is None else part.output.bias
        assert torch.equal(out, torch.zeros_like(out) + bias)


@pytest.mark.parametrize("head", [0, 3])
def test_one_head_alone_is_switched_off(model, ids, head):
    """As if the output projection were given zeros for it, and for no other that shares its keys."""
    D = model.config.head_size
    with without_heads(model, [(1, head)]):
        found = logprobs(model, ids)

    def zeroed(_, given):
        y = given[0].clone()
        y[..., head * D : (head + 1) * D] = 0
        return (y,)

    assert not torch.allclose(found, logprobs(model, ids))
    model.blocks[1].attention.output.register_forward_pre_hook(zeroed)
    torch.testing.assert_close(found, logprobs(model, ids), atol=1e-5, rtol=1e-5)


def test_no_head_is_no_change(model, ids):
    before = logprobs(model, ids)
    with without_heads(model, []):
        assert torch.equal(logprobs(model, ids), before)


def test_the_weights_are_what_they_were_also_after_an_error(model, ids):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    heads = [(0, 0), (0, 1), (0, 0), (1, 3)]

    def unchanged():
        return all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    with without_heads(model, heads):
        assert not unchanged()
        with torch.inference_mode(), without_heads(model, heads[:1]):
            pass
        assert not unchanged()
    assert unchanged()
    with pytest.raises(KeyError), without_heads(model, heads):
        raise KeyError
    assert unchanged()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_is_generated_inside_is_without_the_heads(model, ids):
    heads = [(0, 0), (0, 2), (1, 1)]
    greedy = GenerationConfig(max_new_tokens=6, sampling=SamplingConfig(temperature=0))
    with without_heads(model, heads):
        (found,) = Engine(model).generate([ids.tolist()], greedy)
        read = torch.tensor([*ids.tolist(), *found.ids])
        with torch.no_grad():
            expected = model(read[None])[0, len(ids) - 1 : -1].argmax(-1)
    assert found.ids == expected.tolist()


@pytest.mark.parametrize("pair", [(1, 0), (0, 2), (-1, 0), (0, -1)])
def test_a_head_that_is_not_there(pair):
    chatty, _ = make_chatty()
    weight = chatty.blocks[0].attention.output.weight
    before = weight.clone()
    words = f"there is no head {pair[0]}.{pair[1]}: the model has layers 0 to 0 with heads 0 to 1."
    with pytest.raises(UserError, match=words), without_heads(chatty, [(0, 0), pair]):
        pass
    assert torch.equal(weight, before)


def test_compiled_blocks_are_seen_too(model, ids):
    expected = head_statistics(model, ids)
    for block in model.blocks:
        block.compile(backend="eager")
    assert torch.equal(head_statistics(model, ids).entropy, expected.entropy)


def test_too_many_tokens(model):
    with pytest.raises(UserError, match="there are 33 tokens: head_statistics takes 1 to 32"):
        head_statistics(model, [1] * 33)
