"""Reward functions of anybody's: what they ask for, and all that may go wrong in them."""

import functools
import sys

import numpy as np
import pytest
import torch

from folio.errors import UserError
from folio.rl.functions import Asks, CallError, LocalFunction, Row, load_function

ROW = Row("a question", "an answer", {})
COLUMNS = {"answer": "4", "level": 2, "prompt": "2+2", "completion": "four", "tests": ["a"]}


def call(function, row=ROW):
    (reward,) = LocalFunction(function)([row])
    return reward


def test_a_function_gets_prompt_and_completion():
    seen = []

    def function(question, reply):
        seen.append((question, reply))
        return len(reply)

    rows = [ROW, Row("b", "c", {})]
    assert list(LocalFunction(function)(rows)) == [9.0, 1.0]
    assert seen == [("a question", "an answer"), ("b", "c")]
    assert list(LocalFunction(function)([])) == []


class Judge:
    def __init__(self, *words):
        pass

    def __call__(self, prompt, completion, answer):
        return 1.0


def other_columns(*names):
    return {name: COLUMNS[name] for name in names}


FUNCTIONS = {
    "two texts": (lambda prompt, completion: 1.0, ()),
    "a column": (lambda prompt, completion, answer: 1.0, ("answer",)),
    "a column by keyword": (lambda prompt, completion, *, level: 1.0, ("level",)),
    "what may be there": (lambda prompt, completion, answer, level=1, missing=3: 1.0, ("answer", "level")),
    "all": (lambda prompt, completion, **columns: 1.0, ("answer", "level", "tests")),
    "all, under other names": (lambda question, reply, **columns: 1.0, tuple(COLUMNS)),
    "any number of texts": (lambda *texts: 1.0, ()),
    "any number of texts and a column": (lambda *texts, answer: 1.0, ("answer",)),
    "one text and more": (lambda prompt, *texts, answer: 1.0, ("answer",)),
    "by place only": (lambda prompt, completion, /, level: 1.0, ("level",)),
    "an object": (Judge(), ("answer",)),
    "a part of a function": (
        functools.partial(lambda sign, prompt, completion, answer: sign, 1),
        ("answer",),
    ),
    "written in C": (max, ()),
}


@pytest.mark.parametrize(("function", "names"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_parameters_after_the_first_two_are_columns(function, names):
    assert Asks.of(function).choose(COLUMNS) == other_columns(*names)
    if function is not max:
        assert call(function, Row("", "", other_columns(*names))) == 1.0


def test_only_a_column_without_a_default_must_be_there():
    asks = Asks.of(lambda prompt, completion, answer, level=1, *, unit, **others: 1.0)
    assert tuple(asks.required) == ("answer", "unit")


@pytest.mark.parametrize("given", [True, 3, -0.5, 0, np.float32(0.5), np.int64(2)])
def test_what_is_a_number_is_taken(given):
    found = call(lambda *_: given)
    assert found == given
    assert type(found) is float


def raising(error):
    def function(prompt, completion):
        raise error

    return function


class UnreadableError(Exception):
    def __str__(self):
        raise ValueError("no words")


FAILURES = {
    "raises": (raising(ValueError("no verb")), "raised ValueError (no verb)"),
    "raises at length": (raising(ValueError("one\n\n  two")), "raised ValueError (one two)"),
    "leaves Python": (raising(SystemExit(1)), "raised SystemExit (1)"),
    "raises what is no Exception": (raising(BaseException("odd")), "raised BaseException (odd)"),
    "raises what cannot be read": (raising(UnreadableError()), "raised UnreadableError (its message cannot be read)"),
    "NaN": (lambda *_: float("nan"), "returned nan, not a finite number"),
    "infinity": (lambda *_: float("-inf"), "returned -inf, not a finite number"),
    "too large for float32": (lambda *_: 1e300, "returned 1e+300, not a finite number"),
    "a huge integer": (lambda *_: 10**320, "returned inf, not a finite number"),
    "a longer integer than Python prints": (lambda *_: 10**5000, "returned inf, not a finite number"),
    "a tensor": (lambda *_: torch.tensor(1.0), "returned Tensor, not a number (return its .item())"),
    "a text": (lambda *_: "good", "returned str, not a number"),
    "nothing": (lambda *_: None, "returned NoneType, not a number"),
    "a complex number": (lambda *_: 1j, "returned complex, not a number"),
}  # fmt: skip


@pytest.mark.parametrize(("function", "words"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_told_in_one_line(function, words):
    with pytest.raises(CallError) as caught:
        call(function)
    assert str(caught.value) == words


def test_another_signature_is_a_failure():
    with pytest.raises(CallError, match="raised TypeError"):
        call(lambda completion: 1.0)


def test_a_long_message_is_shortened():
    with pytest.raises(CallError) as caught:
        call(raising(ValueError("x" * 10_000)))
    assert len(str(caught.value)) < 400


def test_ctrl_c_is_no_failure():
    with pytest.raises(KeyboardInterrupt):
        call(raising(KeyboardInterrupt()))


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.py"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


GOOD = "def good(prompt, completion):\n    return 2.0\n"


def test_a_function_is_found_by_file_and_name(write):
    assert load_function(f"{write(GOOD)}:good")("", "") == 2.0


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

    path = write(GOOD, name="random.py")
    assert load_function(f"{path}:good")("", "") == 2.0
    assert sys.modules["random"] is random


MISTAKES = {
    "no file": (None, ":good", "there is no Python file {path}"),
    "another kind of file": (None, "x:good", "there is no Python file {path}x"),
    "no such function": ("def better(): ...\n_hidden = print\n", ":good", "has no function 'good'. It has better."),
    "not callable": ("good = 3\n", ":good", "has no function 'good'. It has none."),
    "an empty name": ("def better(): ...\n", ":", "has no function ''. It has better."),
    "no name": (GOOD, "", "mine.py: name a function in it, as {path}:NAME"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "name", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_file_without_the_function_is_told(write, tmp_path, text, name, words):
    path = tmp_path / "mine.py" if text is None else write(text)
    with pytest.raises(UserError) as caught:
        load_function(f"{path}{name}")
    assert words.format(path=path) in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
