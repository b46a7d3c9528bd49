"""DPO as a function."""

import pytest
import torch
from chatty import PREFERENCES, make_chatty

from folio.errors import FolioWarning, UserError
from folio.training.dpo import DPOConfig, dpo
from folio.training.pairs import PairsConfig


def test_dpo_moves_the_policy_and_leaves_its_reference():
    model, tokenizer = make_chatty()
    reference, _ = make_chatty()
    before = [value.clone() for value in reference.parameters()]
    rates = dict.fromkeys(("learning_rate", "embedding_learning_rate", "head_learning_rate"), 1e-3)
    reports = list(dpo(model, tokenizer, PREFERENCES, reference=reference, epochs=4, **rates))
    assert reports[0].loss == pytest.approx(0.6931, abs=1e-3), "the policy starts as its reference"
    assert reports[-1].metrics["margin"] > 0
    assert all(torch.equal(old, new) for old, new in zip(before, reference.parameters(), strict=True))


def test_a_config_is_as_good_as_keywords_which_override_it():
    config = DPOConfig(beta=0.3, nll_coef=0.5, pairs=PairsConfig(micro_batch_size=16))
    losses = [
        [report.loss for report in dpo(*make_chatty(), PREFERENCES, **settings)]
        for settings in (
            {"config": config, "nll_coef": 0.25},
            {"beta": 0.3, "nll_coef": 0.25, "micro_batch_size": 16},
        )
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 2


def test_the_callers_random_state_is_left_alone():
    model, tokenizer = make_chatty()
    before = torch.get_rng_state()
    list(dpo(model, tokenizer, PREFERENCES))
    assert torch.equal(before, torch.get_rng_state())


def test_mistakes():
    model, tokenizer = make_chatty()
    with pytest.raises(UserError, match=r"dpo: unknown key betta\. Did you mean beta\?"):
        dpo(model, tokenizer, PREFERENCES, betta=1)
    with pytest.raises(UserError, match=r"the model has dropout 0\.1"):
        dpo(make_chatty(dropout=0.1)[0], tokenizer, PREFERENCES)
    with pytest.raises(UserError, match="none of 1 pairs fits into 32 tokens"):
        dpo(model, tokenizer, [{"prompt": "a", "chosen": "b" * 40, "rejected": "c"}])


def test_pairs_that_do_not_fit_are_left_out_with_a_warning():
    model, tokenizer = make_chatty()
    long = {"prompt": "a", "chosen": "b" * 40, "rejected": "c"}
    with pytest.warns(FolioWarning, match="1 of 33 pairs are left out"):
        dpo(model, tokenizer, [*PREFERENCES, long])
