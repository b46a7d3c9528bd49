"""Generated sums: always the same, right, and what measures is never learned from."""

import hashlib
import re
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folio.data import arithmetic
from folio.data.arithmetic import Sum
from folio.data.corpora import load_corpus
from folio.data.known import find_conversations, find_prompts

NUMBERS = st.integers(0, 999)


@given(NUMBERS, NUMBERS)
def test_working_is_a_column_addition_whose_last_line_is_the_answer(a, b):
    *steps, answer = Sum(a, b).working.split("\n")
    assert answer == Sum(a, b).answer == str(a + b)
    assert len(steps) == max(len(str(a)), len(str(b)))
    for place, step in enumerate(steps):
        terms, total = step.split("=")
        x, y, *carried = map(int, terms.split("+"))
        assert (x, y) == (a // 10**place % 10, b // 10**place % 10)
        assert sum(carried) == (a % 10**place + b % 10**place >= 10**place)
        assert int(total) == x + y + sum(carried)


def test_working_carries():
    assert Sum(57, 168).working == "7+8=15\n5+6+1=12\n0+1+1=2\n225"


@given(NUMBERS, NUMBERS)
def test_a_sum_and_its_mirror_image_are_held_out_together(a, b):
    assert Sum(a, b).is_held_out == Sum(b, a).is_held_out


def test_a_tenth_is_held_out_but_no_sum_of_single_digits():
    every = [Sum(a, b) for a in range(100) for b in range(100)]
    held_out = [each for each in every if each.is_held_out]
    assert 0.08 < len(held_out) / len(every) < 0.12
    assert all(max(each) > 9 for each in held_out)


def test_nothing_that_measures_is_learned_from():
    read = {Sum(*map(int, pair)) for pair in re.findall(r"^(\d+)\+(\d+)(?:=\d*)?$", arithmetic.text(), re.M)}
    taught, _ = arithmetic.examples()
    tried, unseen = arithmetic.problems()
    _, measured = arithmetic.examples()
    learned = read.union(taught, tried)
    mirrored = {Sum(each.b, each.a) for each in learned}
    assert len(read) > 10_000
    assert not (learned | mirrored) & {*unseen, *measured}


def test_every_line_of_the_text_is_right():
    equations = re.findall(r"^(.+)=(\d+)$", arithmetic.text(), re.M)
    assert len(equations) > arithmetic.SUMS
    for terms, total in equations:
        assert sum(map(int, terms.split("+"))) == int(total)


def test_examples_and_problems_occur_once():
    for part in (*arithmetic.examples(), *arithmetic.problems()):
        assert len(part) == len(set(part))
    assert list(map(len, arithmetic.examples())) == [arithmetic.EXAMPLES, arithmetic.UNSEEN_EXAMPLES]
    assert list(map(len, arithmetic.problems())) == [arithmetic.PROBLEMS, arithmetic.HELD_OUT]


def test_short_numbers_come_as_often_as_long_ones():
    drawn = [each.a for each in islice(arithmetic.sums(7, held_out=False), 3_000)]
    assert 0.3 < sum(a < 10 for a in drawn) / len(drawn) < 0.45
    assert 0.25 < sum(a > 99 for a in drawn) / len(drawn) < 0.35


MADE = {
    "text": (arithmetic.text, "b2922d6ea56becf1248fac61c00dd7913deca15405b6bf687151adebb8979d51"),
    "examples": (
        lambda: lines(arithmetic.examples()),
        "96225df02f3fe4bc1ea0c2d80c3ececbd419d0f071352e97a4fa7d386731b6e4",
    ),
    "problems": (
        lambda: lines(arithmetic.problems()),
        "9290bd0f682bf8b788bd5a1d08c6701252422256f8bd04da49665aacddf696e4",
    ),
}


def lines(parts):
    return "\n".join(each.working for part in parts for each in part)


@pytest.mark.parametrize(("make", "sha256"), MADE.values(), ids=MADE)
def test_they_are_the_same_on_every_machine(make, sha256):
    assert hashlib.sha256(make().encode()).hexdigest() == sha256


def test_the_name_is_known_wherever_data_is_asked_for():
    corpus = load_corpus("arithmetic")
    assert (corpus.name, corpus.text, corpus.notices) == ("arithmetic", arithmetic.text(), ())
    conversations = find_conversations(["arithmetic"])
    assert [part[0][1]["content"] for part in (conversations.train, conversations.validation)] == [
        part[0].working for part in arithmetic.examples()
    ]
    prompts = find_prompts(["arithmetic"])
    assert [len(part) for part in (prompts.train, prompts.validation)] == [
        arithmetic.PROBLEMS,
        arithmetic.HELD_OUT,
    ]
    assert prompts.train[0] == [{"role": "user", "content": arithmetic.problems()[0][0].problem}]
