"""The loss over a validation split."""

import math

import pytest
import torch
import torch.nn.functional as F

from folio.data.windows import validation_windows
from folio.errors import UserError
from folio.evaluation.loss import HeldOut, evaluate
from folio.model.config import GPTConfig
from folio.model.gpt import GPT

CONFIG = GPTConfig(
    vocab_size=11, block_size=8, n_layer=2, n_head=2, n_kv_head=1, n_embd=16, head_size=8, mlp_size=24, dropout=0.5
)  # fmt: skip


@pytest.fixture
def model() -> GPT:
    model = GPT(CONFIG)
    torch.nn.init.normal_(model.head.weight)
    return model


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_it_is_one_big_mean(model, batch_size):
    """37 targets in windows of 8: the last is short, and counts for as much as it has."""
    ids = torch.randint(11, (38,))
    measured = HeldOut(list(validation_windows(ids, 8, batch_size)), n_bytes=50)(model)
    model.eval()
    losses = []
    for start in range(0, 37, 8):
        window = ids[start : start + 9]
        losses.append(F.cross_entropy(model(window[None, :-1])[0], window[1:], reduction="none"))
    expected = torch.cat(losses)
    assert len(expected) == 37
    assert measured["val_loss"] == pytest.approx(expected.mean().item(), rel=1e-5)
    assert measured["val_bpb"] == pytest.approx(expected.sum().item() / 50 / math.log(2), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(model, training):
    model.train(training)
    state = {name: parameter.clone() for name, parameter in model.named_parameters()}
    batches = list(validation_windows(torch.randint(11, (30,)), 8, 2))
    before = torch.get_rng_state()
    assert HeldOut(batches, n_bytes=1)(model) == HeldOut(batches, n_bytes=1)(model)
    assert model.training is training
    assert torch.equal(torch.get_rng_state(), before), "no dropout, and nothing else that is random"
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, state[name])
        assert parameter.grad is None


def test_without_targets_there_is_nothing_to_evaluate(model):
    with pytest.raises(UserError, match="nothing to evaluate"):
        evaluate(model, [])
