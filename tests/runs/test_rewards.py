"""Rewards by name: models, functions, and their weights."""

import os
from pathlib import Path

import pytest
from random_models import TOKENIZER, config, random_gpt, random_scorer
from tiny_rl import make_function

from folio.errors import UserError
from folio.model.score import ScoreModel
from folio.rl.rewards import LikelihoodReward, ModelReward, Sample
from folio.runs.load import save
from folio.runs.rewards import is_function, load_rewards, model_paths, models_in, split_weight
from folio.tokenizer.char import CharTokenizer


@pytest.fixture
def scorer(tmp_path):
    """A reward model's directory."""
    save(random_scorer(), TOKENIZER, tmp_path / "scorer")
    return str(tmp_path / "scorer")


@pytest.fixture
def function(tmp_path):
    return f"{make_function(tmp_path / 'count.py', 'return completion.count(chr(97))')}:f"


def sample(prompt, completion):
    ids = [TOKENIZER.encode(text).tolist() for text in (prompt, completion)]
    return Sample(prompt, completion, *ids, logprobs=[0.0] * len(completion), is_stopped=False)


SAMPLES = [sample("bad", "a cab"), sample("fed", "abba a"), sample("d", "f")]


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("runs/rm", ("runs/rm", 1.0)),
        ("runs/rm=0.5", ("runs/rm", 0.5)),
        ("a.py:f=-2", ("a.py:f", -2.0)),
        ("a=b=1e-3", ("a=b", 0.001)),
        ("lr=1/a.py:f", ("lr=1/a.py:f", 1.0)),
        ("lr=1/a.py:f=2", ("lr=1/a.py:f", 2.0)),
        ("~/a.py:f=2", (os.path.expanduser("~/a.py:f"), 2.0)),
        ("~/rm", (os.path.expanduser("~/rm"), 1.0)),
    ],
)
def test_a_weight_comes_after_the_last_equals_sign(spec, found):
    assert split_weight(spec) == found


def test_what_exists_under_the_whole_name_has_no_weight(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=0.01").mkdir()
    assert split_weight("lr=0.01") == ("lr=0.01", 1.0)
    assert split_weight("lr=0.01=2") == ("lr=0.01", 2.0)
    assert split_weight("lr=0.02") == ("lr", 0.02)


@pytest.mark.parametrize("weight", ["much", "", "nan", "inf", "-inf"])
def test_a_weight_is_a_finite_number(weight):
    with pytest.raises(UserError, match="is not a number"):
        split_weight(f"runs/rm={weight}")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("a.py:f", True), ("folder/a.py", True), ("runs/rm", False), ("runs/a.python", False), ("happy", False)],
)
def test_what_a_function_is(name, is_one):
    assert is_function(name) == is_one


def test_the_reward_is_the_weighted_sum(scorer, function):
    alone = load_rewards([scorer], TOKENIZER, 1.0)(SAMPLES)
    both = load_rewards([f"{scorer}=0.5", f"{function}=-2"], TOKENIZER, 1.0)
    counts = [each.completion.count("a") for each in SAMPLES]
    assert counts == [2, 3, 0]
    assert both(SAMPLES) == pytest.approx(
        [0.5 * score - 2 * n for score, n in zip(alone, counts, strict=True)]
    )


def test_a_reward_model_is_loaded_frozen_and_without_dropout(tmp_path, function):
    save(ScoreModel(config(dropout=0.5)), TOKENIZER, tmp_path / "scorer")
    rewards = load_rewards([str(tmp_path / "scorer"), function], TOKENIZER, 1.0)
    (model,) = models_in(rewards)
    assert model.config.dropout == 0
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert isinstance(rewards.parts[0][0], ModelReward)


def test_a_reward_model_reads_the_policys_tokens(scorer):
    with pytest.raises(UserError, match="has another tokenizer than the policy"):
        load_rewards([scorer], CharTokenizer(tuple("abcdefg")), 1.0)


def test_what_is_not_there_is_told():
    with pytest.raises(UserError, match="absent: no such run"):
        load_rewards(["absent"], TOKENIZER, 1.0)
    with pytest.raises(UserError, match=r"there is no Python file absent\.py"):
        load_rewards(["absent.py:f"], TOKENIZER, 1.0)


def test_a_base_model_says_how_likely_a_completion_is(tmp_path, scorer, function):
    save(random_gpt(), TOKENIZER, tmp_path / "base")
    spec = f"likelihood:{tmp_path / 'base'}=0.5"
    alone = LikelihoodReward(random_gpt(), TOKENIZER)(SAMPLES)
    rewards = load_rewards([spec], TOKENIZER, 1.0)
    assert rewards(SAMPLES) == pytest.approx([each / 2 for each in alone])
    assert len(models_in(rewards)) == 1
    assert model_paths([spec, scorer, function]) == [tmp_path / "base", Path(scorer)]
    with pytest.raises(UserError, match="absent: no such run"):
        load_rewards(["likelihood:absent"], TOKENIZER, 1.0)
