"""Rewards by name: models, functions, their weights, and the time limit of functions."""

import signal

import pytest
from random_models import TOKENIZER, config, random_scorer
from tiny_rl import make_function

from folio.errors import UserError
from folio.model.score import ScoreModel
from folio.rl.rewards import FunctionReward, ModelReward, RewardError, Sample
from folio.runs.load import save
from folio.runs.rewards import is_function, limited, load_function, load_rewards, models_in, split_weight
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
    ],
)
def test_a_weight_comes_after_the_last_equals_sign(spec, found):
    assert split_weight(spec) == found


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


SAMPLE = Sample("a question", "an answer", (1, 2), (3,), (0.0,), is_stopped=True)


def endless(prompt, completion):
    while True:
        pass


def endless_and_deaf_to_exceptions(prompt, completion):
    try:
        endless(prompt, completion)
    except Exception:
        return 1.0


def endless_and_deaf_to_everything(prompt, completion):
    try:
        endless(prompt, completion)
    except:  # noqa: E722
        return 1.0


@pytest.mark.parametrize(
    "function", [endless, endless_and_deaf_to_exceptions, endless_and_deaf_to_everything]
)
def test_what_takes_too_long_is_stopped(function):
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(RewardError, match=r"took more than 0\.05 seconds for the prompt 'a question'"):
        FunctionReward("f", limited(function, 0.05))([SAMPLE])
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_limit_is_for_each_completion():
    def slow(prompt, completion):
        signal.sigtimedwait([], 0.03)
        return 1.0

    assert FunctionReward("f", limited(slow, 0.2))([SAMPLE] * 10) == [1.0] * 10


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.py"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_a_function_is_found_by_file_and_name(write):
    path = write("def good(prompt, completion):\n    return 2.0\n")
    assert load_function(f"{path}:good")("", "") == 2.0


def test_a_file_may_define_a_dataclass(write):
    """dataclasses looks up the module of a class by its name."""
    path = write(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Rule:\n    weight: float\n\n"
        "def good(prompt, completion):\n    return Rule(2.0).weight\n"
    )
    assert load_function(f"{path}:good")("", "") == 2.0


def test_a_file_named_like_a_module_stands_in_nobodys_way(write):
    import random

    path = write("def good(prompt, completion):\n    return 2.0\n", name="random.py")
    assert load_function(f"{path}:good")("", "") == 2.0
    import random as again

    assert again is random


MISTAKES = {
    "no file": (None, "good", "there is no Python file"),
    "no such function": ("def better(): ...\n_hidden = print\n", "good", "has no function 'good'. It has better."),
    "not callable": ("good = 3\n", "good", "has no function 'good'. It has none."),
    "no name": ("def better(): ...\n", "", "has no function ''. It has better."),
    "syntax": ("def good(:\n", "good", "cannot be imported: SyntaxError"),
    "import": ("import nothing_like_it\n", "good", "cannot be imported: ModuleNotFoundError"),
    "raises at length": ("raise ValueError('one\\n\\ntwo')\n", "good", "cannot be imported: ValueError (one two)."),
    "leaves Python": ("import sys\nsys.exit(1)\n", "good", "cannot be imported: SystemExit"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "name", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_file_without_the_function_is_told(write, tmp_path, text, name, told):
    path = tmp_path / "mine.py" if text is None else write(text)
    with pytest.raises(UserError) as caught:
        load_function(f"{path}:{name}")
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_alone_is_not_enough(write):
    path = write("def good(prompt, completion):\n    return 2.0\n")
    with pytest.raises(UserError, match=r"mine\.py: name a function in it, as .*mine\.py:NAME"):
        load_function(str(path))
