"""Reward sources: models, functions of anybody's with all that may go wrong in them, and sums."""

import signal

import pytest
import torch
from random_models import END, PAD, random_scorer

from folio.errors import UserError
from folio.rl.rewards import FunctionReward, ModelReward, RewardError, Sample, WeightedSum, load_function


def sample(prompt="a question", completion="an answer", prompt_ids=(1, 2), completion_ids=(3, END)):
    return Sample(prompt, completion, prompt_ids, completion_ids, (0.0,) * len(completion_ids), True)


def test_a_function_gets_prompt_and_completion():
    seen = []

    def function(prompt, completion):
        seen.append((prompt, completion))
        return len(completion)

    reward = FunctionReward("f", function, 5.0)
    assert reward([sample(), sample("b", "c")]) == [9.0, 1.0]
    assert seen == [("a question", "an answer"), ("b", "c")]
    assert reward([]) == []


@pytest.mark.parametrize("given", [True, 3, -0.5, 0])
def test_what_is_a_number_is_taken(given):
    (found,) = FunctionReward("f", lambda *_: given, 5.0)([sample()])
    assert found == given
    assert type(found) is float


def test_numbers_of_numpy_are_numbers():
    import numpy as np

    assert FunctionReward("f", lambda *_: np.float32(0.5), 5.0)([sample()]) == [0.5]


def raising(error):
    def function(prompt, completion):
        raise error

    return function


def prints(prompt, completion):
    print("the reward function was here")
    return 1.0


FAILURES = {
    "raises": (raising(ValueError("no verb")), "raised ValueError (no verb) for the prompt 'a question'"),
    "raises at length": (raising(ValueError("one\n\n  two")), "raised ValueError (one two)"),
    "leaves Python": (raising(SystemExit(1)), "raised SystemExit (1)"),
    "NaN": (lambda *_: float("nan"), "returned nan for the prompt 'a question': a reward must be finite"),
    "infinity": (lambda *_: float("-inf"), "returned -inf"),
    "too large for float32": (lambda *_: 1e300, "returned 1e+300"),
    "a huge integer": (lambda *_: 10**320, "a reward must be finite"),
    "a tensor": (lambda *_: torch.tensor(1.0), "returned Tensor, not a number, for the prompt 'a question'. Return its .item()."),
    "a text": (lambda *_: "good", "returned str, not a number"),
    "nothing": (lambda *_: None, "returned NoneType, not a number"),
    "a complex number": (lambda *_: 1j, "returned complex, not a number"),
    "another signature": (lambda completion: 1.0, "raised TypeError"),
}  # fmt: skip


@pytest.mark.parametrize(("function", "told"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_told_in_one_line(function, told):
    with pytest.raises(RewardError) as caught:
        FunctionReward("mine.py:f", function, 5.0)([sample()])
    assert str(caught.value).startswith("mine.py:f ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_long_prompt_is_shortened_in_a_message():
    with pytest.raises(RewardError) as caught:
        FunctionReward("f", raising(ValueError("x")), 5.0)([sample(prompt="why\n" * 1000)])
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


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
        FunctionReward("f", function, 0.05)([sample()])
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_limit_is_for_each_completion():
    def slow(prompt, completion):
        signal.sigtimedwait([], 0.03)
        return 1.0

    assert FunctionReward("f", slow, 0.2)([sample()] * 10) == [1.0] * 10


def test_ctrl_c_is_no_failure():
    with pytest.raises(KeyboardInterrupt):
        FunctionReward("f", raising(KeyboardInterrupt()), 5.0)([sample()])


def test_a_function_may_print(capsys):
    assert FunctionReward("f", prints, 5.0)([sample()]) == [1.0]
    assert "was here" in capsys.readouterr().out


def test_several_sources_are_added_by_weight():
    def length(samples):
        return [float(len(each.completion)) for each in samples]

    def one(samples):
        return [1.0 for _ in samples]

    samples = [sample(completion="ab"), sample(completion="abcd")]
    assert WeightedSum([(length, 0.5), (one, -3.0)])(samples) == [-2.0, -1.0]
    assert WeightedSum([])(samples) == [0.0, 0.0]


def test_a_models_score_does_not_depend_on_what_is_scored_beside():
    model = random_scorer().eval()
    samples = [sample(completion_ids=[3] * n + [END], prompt_ids=[n, 1]) for n in (1, 9, 0, 4, 2)]
    together = ModelReward(model, PAD)(samples)
    alone = [ModelReward(model, PAD)([each])[0] for each in samples]
    in_twos = ModelReward(model, PAD, batch_size=2)(samples)
    assert together == pytest.approx(alone, abs=1e-5)
    assert together == pytest.approx(in_twos, abs=1e-5)
    assert together[1] != pytest.approx(together[0], abs=1e-3)


def test_a_model_reads_the_tokens_that_were_drawn_up_to_the_last():
    model = random_scorer().eval()
    drawn = sample(prompt_ids=[1, 2], completion_ids=[3, 4, END])
    with torch.inference_mode():
        expected = model(torch.tensor([[1, 2, 3, 4, END]]))[0, -1].item()
    assert ModelReward(model, PAD)([drawn]) == [pytest.approx(expected, abs=1e-5)]


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
