"""Reward models and DPO as functions."""

import pytest
import torch
from chatty import make_chatty

from folio.errors import FolioWarning, UserError
from folio.model.score import ScoreModel
from folio.training.pairs import PairsConfig, dpo, reward

PREFERENCES = [
    {"prompt": "a?", "chosen": "bad", "rejected": "cab"},
    {"prompt": "b?", "chosen": "bed", "rejected": "face"},
] * 16


def test_a_reward_model_learns_which_answer_is_preferred():
    model, tokenizer = make_chatty()
    reports = list(reward(ScoreModel.like(model), tokenizer, PREFERENCES, epochs=4, learning_rate=0.02))
    assert reports[-1].metrics["accuracy"] == 1.0
    assert reports[-1].loss < reports[0].loss


def test_dpo_moves_the_policy_and_leaves_its_reference():
    model, tokenizer = make_chatty()
    reference, _ = make_chatty()
    before = [value.clone() for value in reference.parameters()]
    rates = dict.fromkeys(("learning_rate", "embedding_learning_rate", "head_learning_rate"), 1e-3)
    reports = list(dpo(model, tokenizer, PREFERENCES, reference=reference, epochs=4, **rates))
    assert reports[0].loss == pytest.approx(0.6931, abs=1e-3), "the policy starts as its reference"
    assert reports[-1].metrics["margin"] > 0
    assert all(torch.equal(old, new) for old, new in zip(before, reference.parameters(), strict=True))


def test_steps_follow_from_pairs_and_epochs():
    assert PairsConfig(epochs=2, micro_batch_size=8).steps(20) == 6


def test_mistakes():
    model, tokenizer = make_chatty()
    with pytest.raises(UserError, match=r"dpo: unknown key betta\. Did you mean beta\?"):
        dpo(model, tokenizer, PREFERENCES, betta=1)
    with pytest.raises(UserError, match=r"the model has dropout 0\.1"):
        dpo(make_chatty(dropout=0.1)[0], tokenizer, PREFERENCES)
    with pytest.raises(UserError, match="none of 1 pairs fits into 32 tokens"):
        dpo(model, tokenizer, [{"prompt": "a", "chosen": "b" * 40, "rejected": "c"}])
    with pytest.raises(UserError, match="chosen and rejected are the same"):
        reward(ScoreModel.like(model), tokenizer, [{"prompt": "a", "chosen": "b", "rejected": "b"}])


def test_pairs_that_do_not_fit_are_left_out_with_a_warning():
    model, tokenizer = make_chatty()
    long = {"prompt": "a", "chosen": "b" * 40, "rejected": "c"}
    with pytest.warns(FolioWarning, match="1 of 33 pairs are left out"):
        dpo(model, tokenizer, [*PREFERENCES, long])
