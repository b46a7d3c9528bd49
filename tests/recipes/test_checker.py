"""The checker of sums: right, wrong, and whatever a model may write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folio.data.arithmetic import Sum
from folio.rl.functions import load_function
from folio.runs.recipes import find_recipe_file

score = load_function(find_recipe_file("arithmetic/checker.py:score"))
NUMBERS = st.integers(0, 999)


@given(NUMBERS, NUMBERS)
def test_the_answer_is_right_with_its_working_and_without(a, b):
    assert score(Sum(a, b).problem, Sum(a, b).working) == 1.0
    assert score(Sum(a, b).problem, Sum(a, b).answer) == 1.0


@given(NUMBERS, NUMBERS, st.integers(0, 1998))
def test_another_number_is_wrong(a, b, other):
    assert score(f"{a}+{b}", str(other)) == float(other == a + b)


WRONG = [
    "",
    " \n",
    "?",
    "224",
    "2250",
    "0225",
    "225 226",
    "225?",
    "+225",
    "225.0",
    "57+168=225",
    "7+8=15\n",
    "٢٢٥",
    "²²⁵",
]


@pytest.mark.parametrize("completion", WRONG)
def test_what_is_not_exactly_the_answer_is_wrong(completion):
    assert score("57+168", completion) == 0.0


@given(st.text(), st.text())
def test_whatever_is_written_is_worth_0_or_1(prompt, completion):
    assert score("57+168", completion) in (0.0, 1.0)
    assert score(prompt, "225") in (0.0, 1.0)


def test_the_problem_may_stand_in_a_sentence():
    assert score("What is 57+168?", "It is 225") == 1.0
    assert score("What is it?", "225") == 0.0
