"""A reward model as a function."""

import pytest
import torch
from chatty import PREFERENCES, make_chatty

from folio.errors import UserError
from folio.model.score import ScoreModel
from folio.training.pairs import PairsConfig
from folio.training.reward import RewardConfig, reward


def make_scorer(**sizes):
    model, tokenizer = make_chatty(**sizes)
    return ScoreModel.like(model), tokenizer


def test_a_reward_model_learns_which_answer_is_preferred():
    reports = list(reward(*make_scorer(), PREFERENCES, epochs=4, learning_rate=0.02))
    assert reports[-1].metrics["accuracy"] == 1.0
    assert reports[-1].loss < reports[0].loss


def test_a_config_is_as_good_as_keywords_which_override_it():
    config = RewardConfig(pairs=PairsConfig(epochs=3, micro_batch_size=16))
    runs = [
        list(reward(*make_scorer(), PREFERENCES, config=config, epochs=1.0)),
        list(reward(*make_scorer(), PREFERENCES, micro_batch_size=16)),
    ]
    assert [len(run) for run in runs] == [2, 2]
    assert [report.loss for report in runs[0]] == [report.loss for report in runs[1]]


def test_the_callers_random_state_is_set_only_where_dropout_draws_from_it():
    for dropout, kept in ((0.0, True), (0.5, False)):
        scorer, tokenizer = make_scorer(dropout=dropout)
        before = torch.get_rng_state()
        list(reward(scorer, tokenizer, PREFERENCES))
        assert torch.equal(before, torch.get_rng_state()) == kept


def test_the_same_seed_drops_the_same_units():
    first, second = (list(reward(*make_scorer(dropout=0.5), PREFERENCES, seed=3)) for _ in range(2))
    assert [report.loss for report in first] == [report.loss for report in second]


def test_mistakes():
    with pytest.raises(UserError, match="chosen and rejected are the same"):
        reward(*make_scorer(), [{"prompt": "a", "chosen": "b", "rejected": "b"}])
    with pytest.raises(UserError, match="preferences is empty"):
        reward(*make_scorer(), [])
    with pytest.raises(UserError, match="reward: config is a PairsConfig: it must be a RewardConfig"):
        reward(*make_scorer(), PREFERENCES, config=PairsConfig())
