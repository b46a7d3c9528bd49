"""Reward functions from files: found, named where they are missing, and stopped where they take too long.

The rest of loading rewards is tested through the commands, in tests/stages/test_policy.py.
"""

import signal

import pytest

from folio.errors import UserError
from folio.rl.rewards import FunctionReward, RewardError, Sample
from folio.runs.rewards import limited, load_function

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
