"""What a model would predict if it stopped after each layer."""

from dataclasses import replace

import pytest
import torch

from folio.errors import UserError
from folio.inference.inspection import inspect
from folio.inference.lens import logit_lens
from folio.model.gpt import GPT


@pytest.fixture(autouse=True)
def _evaluation(model):
    model.eval()


def test_the_last_layer_is_the_model(model, ids):
    lens, inspection = logit_lens(model, ids), inspect(model, ids, 0)
    assert lens.logprobs.shape == (3, 61)
    assert lens.losses.shape == (3, 19)
    torch.testing.assert_close(lens.logprobs[-1], inspection.logprobs[-1])
    torch.testing.assert_close(lens.losses[-1], inspection.losses)


def test_a_layer_is_what_a_model_cut_there_predicts(model, ids):
    shorter = GPT(replace(model.config, n_layer=1)).eval()
    shorter.load_state_dict(model.state_dict(), strict=False)
    lens, inspection = logit_lens(model, ids), inspect(shorter, ids, 0)
    torch.testing.assert_close(lens.logprobs[1], inspection.logprobs[-1])
    torch.testing.assert_close(lens.losses[1], inspection.losses)


def test_row_0_is_the_embedding(model, ids):
    with torch.no_grad():
        x, _ = model.positions(model.embedding(ids[None]), torch.arange(20))
        expected = model.head(model.norm(x))[0, -1].log_softmax(-1)
    torch.testing.assert_close(logit_lens(model, ids).logprobs[0], expected)


def test_a_single_token_has_no_loss(model):
    lens = logit_lens(model, [3])
    assert lens.losses.shape == (3, 0)
    torch.testing.assert_close(lens.logprobs.exp().sum(-1), torch.ones(3))


def test_compiled_blocks_are_seen_too_and_nothing_is_left_behind(model, ids):
    expected = logit_lens(model, ids)
    for block in model.blocks:
        block.compile(backend="eager")
    with torch.no_grad():
        before = model(ids[None])
    assert torch.equal(logit_lens(model, ids).logprobs, expected.logprobs)
    with torch.no_grad():
        assert torch.equal(model(ids[None]), before)
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_half_precision_is_float32_outside(model, ids):
    model.compute_dtype = torch.bfloat16
    lens = logit_lens(model, ids)
    assert lens.logprobs.dtype == lens.losses.dtype == torch.float32


def test_no_tokens(model):
    with pytest.raises(UserError, match="there are 0 tokens: logit_lens takes 1 to 32"):
        logit_lens(model, [])
