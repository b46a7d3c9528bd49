"""What can be seen of a model that reads."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from chatty import make_chatty

from folio.batch import Batch
from folio.errors import UserError
from folio.inference.inspection import attention_weights, inspect, logprobs
from folio.model.context import CausalContext
from folio.model.directory import save_model
from folio.model.gpt import GPT
from folio.objectives.next_token import next_token_loss


@pytest.fixture(autouse=True)
def _evaluation(model):
    model.eval()


def test_the_weights_are_those_of_the_layer(model, ids):
    """With them the values give what the context gives."""
    H, H_kv, D = model.config.n_head, model.config.n_kv_head, model.config.head_size
    q, k, v = torch.randn(2, H, 20, D), torch.randn(2, H_kv, 20, D), torch.randn(2, H_kv, 20, D)
    mine = attention_weights(q, k) @ v.repeat_interleave(H // H_kv, dim=1)
    theirs = CausalContext(ids[None]).attend(1, q, k, v)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layer", [0, 1])
def test_transformers_sees_the_same(model, ids, layer, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    save_model(model, tmp_path, special_ids={"bos": 1, "eos": 2, "pad": 3})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    with torch.no_grad():
        output = theirs(ids[None], output_attentions=True)
    inspection = inspect(model, ids, layer)
    torch.testing.assert_close(inspection.attention, output.attentions[layer][0], atol=1e-5, rtol=0)
    expected = output.logits[0].log_softmax(-1)
    torch.testing.assert_close(inspection.logprobs, expected, atol=1e-4, rtol=0)


def test_rows_sum_to_one_and_nobody_looks_ahead(model, ids):
    attention = inspect(model, ids, 0).attention
    assert attention.shape == (model.config.n_head, 20, 20)
    torch.testing.assert_close(attention.sum(-1), torch.ones(model.config.n_head, 20))
    assert attention.min() >= 0
    assert attention.triu(1).abs().max() == 0
    assert attention.tril().count_nonzero() == model.config.n_head * 20 * 21 / 2


def test_losses_are_those_of_training(model, ids):
    loss = next_token_loss(model, Batch.from_windows(ids[None]))
    losses = inspect(model, ids, 0).losses
    assert losses.shape == (19,)
    assert losses.mean().item() == pytest.approx(loss.total.item() / loss.count.item(), rel=1e-5)


def test_probabilities_sum_to_one_and_are_those_of_the_last_position(model, ids):
    inspection = inspect(model, ids, 0)
    assert inspection.logprobs[-1].exp().sum().item() == pytest.approx(1, abs=1e-5)
    with torch.no_grad():
        expected = model(ids[None])[0, -1].softmax(-1)
    torch.testing.assert_close(inspection.logprobs[-1].exp(), expected)


def test_a_single_token(model):
    inspection = inspect(model, torch.tensor([3]), 1)
    assert inspection.losses.shape == (0,)
    assert torch.equal(inspection.attention, torch.ones(model.config.n_head, 1, 1))


def test_a_fresh_model_is_equally_surprised_by_everything(model, ids):
    # A tied head does not start at zero.
    fresh = GPT(replace(model.config, tied_embeddings=False)).eval()
    losses = inspect(fresh, ids, 0).losses
    torch.testing.assert_close(losses, torch.full((19,), math.log(61)))


def test_compiled_blocks_are_seen_too_and_nothing_is_left_behind(model, ids):
    expected = inspect(model, ids, 1)
    for block in model.blocks:
        block.compile(backend="eager")
    with torch.no_grad():
        before = model(ids[None])
    seen = inspect(model, ids, 1)
    assert torch.equal(seen.attention, expected.attention)
    assert torch.equal(seen.logprobs, expected.logprobs)
    with torch.no_grad():
        assert torch.equal(model(ids[None]), before)


def test_half_precision_is_near(model, ids):
    exact = inspect(model, ids, 1)
    model.compute_dtype = torch.bfloat16
    rounded = inspect(model, ids, 1)
    assert rounded.attention.dtype == rounded.logprobs.dtype == torch.float32
    assert (rounded.attention - exact.attention).abs().max() < 0.1


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_logprobs_are_those_of_the_logits(kind):
    model, _ = make_chatty()
    ids = [1, 2, 3, 4]
    found = logprobs(model.eval(), kind(ids))
    expected = model(torch.tensor([ids])).log_softmax(-1)[0, [0, 1, 2], ids[1:]]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.detach())


@pytest.mark.parametrize("n", [0, 1, 33])
def test_logprobs_of_too_few_or_too_many(n):
    model, _ = make_chatty()
    with pytest.raises(UserError, match=f"there are {n} tokens: logprobs takes 2 to 32"):
        logprobs(model, [1] * n)


def test_logprobs_of_an_unknown_id():
    model, _ = make_chatty()
    with pytest.raises(UserError, match="the ids range from 1 to 999"):
        logprobs(model, [1, 999])


def test_inspecting_ids_of_every_kind_and_none_that_are_not_there():
    model, _ = make_chatty()
    ids = [1, 2, 3]
    for kind in (list, np.array, torch.tensor):
        assert inspect(model.eval(), kind(ids), 0).ids.tolist() == ids
    with pytest.raises(UserError, match="there are 0 tokens: inspect takes 1 to 32"):
        inspect(model, [], 0)
    with pytest.raises(UserError, match="layer is 1: the model has layers 0 to 0"):
        inspect(model, ids, 1)
