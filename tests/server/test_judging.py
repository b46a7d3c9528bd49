"""Judgements are kept as they were given, and become preferences where they say which answer is better."""

import json

import pytest

from folio.data.preferences import read_preferences
from folio.errors import UserError
from folio.server.judging import (
    GOALS,
    REPEAT_EVERY,
    Answer,
    Judgements,
    agrees,
    file_name,
    interval,
)


def an(text, model="chat", seed=1, is_complete=True):
    return Answer(text=text, model=model, seed=seed, temperature=1.0, is_complete=is_complete)


@pytest.fixture
def judgements(tmp_path):
    return Judgements(tmp_path / "runs", "chat")


def judge(judgements, n, judgement="left"):
    return judgements.add(f"prompt {n}", an(f"good {n}"), an(f"poor {n}", seed=2), judgement)


def test_the_file_is_one_that_folio_reward_reads(judgements):
    judge(judgements, 1)
    judge(judgements, 2, "right")
    for number, judgement in enumerate(("tie", "bad", "skip"), 3):
        judge(judgements, number, judgement)
    records = read_preferences(judgements.pairs_file)
    assert [(each.chosen, each.rejected) for each in records] == [("good 1", "poor 1"), ("poor 2", "good 2")]
    assert records[0].prompt == [{"role": "user", "content": "prompt 1"}]
    assert [each.judgement for each in judgements.all()] == ["left", "right", "tie", "bad", "skip"]
    with pytest.warns(match="1 file left out"):
        assert len(read_preferences(judgements.file.parent)) == 2, "nothing else there is to train on"


def test_what_is_no_lesson_is_kept_and_makes_no_pair(judgements):
    judgements.add("p", an("cut o", is_complete=False), an("whole", seed=2), "right")
    judgements.add("p", an("same"), an("same", seed=2), "left")
    judgements.add("p", an(""), an("some", seed=2), "right")
    assert judgements.pairs() == []
    assert judgements.pairs_file.read_text() == ""
    assert len(judgements.all()) == 3


def test_the_last_judgement_is_taken_back(judgements):
    with pytest.raises(UserError, match="nothing to take back"):
        judgements.undo()
    judge(judgements, 1)
    judge(judgements, 2)
    assert judgements.undo().prompt == "prompt 2"
    assert [pair["prompt"] for pair in judgements.pairs()] == ["prompt 1"]
    assert len(read_preferences(judgements.pairs_file)) == 1
    assert judgements.undo().prompt == "prompt 1"
    assert judgements.pairs() == []
    third = judge(judgements, 3)
    assert third.number == 3, "a number is given once"
    assert len(judgements.file.read_text().splitlines()) == 5, "nothing is lost"


def test_one_pair_in_ten_comes_again(judgements):
    for number in range(1, REPEAT_EVERY - 1):
        judge(judgements, number)
        assert judgements.to_repeat() is None
    judge(judgements, 9)
    again = judgements.to_repeat()
    assert again.number <= 9 - 5
    assert judgements.to_repeat() == again, "the same until it is judged"
    judgements.add(again.prompt, again.left, again.right, again.judgement, repeats=again.number)
    assert judgements.to_repeat() is None
    for number in range(11, 20):
        judge(judgements, number)
    assert judgements.to_repeat().number != again.number
    assert len(judgements.pairs()) == 18, "the second look adds none"


def test_one_s_own_agreement(judgements):
    first, second = judge(judgements, 1), judge(judgements, 2, "tie")
    judgements.add(first.prompt, first.right, first.left, "right", repeats=first.number)
    judgements.add(second.prompt, second.left, second.right, "left", repeats=second.number)
    statistics = judgements.statistics()
    assert (statistics["repeated"], statistics["agreed"]) == (2, 1)


def test_a_pair_that_was_judged_both_ways_teaches_nothing(judgements):
    first = judge(judgements, 1)
    judge(judgements, 2)
    again = judgements.add(first.prompt, first.right, first.left, "left", repeats=first.number)
    assert not agrees(again, judgements.all())
    assert [pair["prompt"] for pair in judgements.pairs()] == ["prompt 2"]
    judgements.undo()
    assert len(judgements.pairs()) == 2


def test_only_a_pair_that_was_judged_can_be_judged_again(judgements):
    first = judge(judgements, 1)
    for prompt, left, repeats in (
        ("other", first.left, 1),
        (first.prompt, an("other"), 1),
        ("prompt 1", first.left, 7),
    ):
        with pytest.raises(UserError, match="was of another pair"):
            judgements.add(prompt, left, first.right, "left", repeats=repeats)


def test_how_many_more_are_useful_and_why(judgements):
    judge(judgements, 1)
    statistics = judgements.statistics()
    assert (statistics["pairs"], statistics["goal"]) == (1, {"pairs": GOALS[0][0], "why": GOALS[0][1]})
    assert statistics["counts"] == {"left": 1, "right": 0, "tie": 0, "bad": 0, "skip": 0}


def test_before_and_after(judgements):
    assert judgements.wins("chat", "ppo")["share"] is None
    for side, judgement in (
        ("left", "left"),
        ("right", "right"),
        ("left", "tie"),
        ("left", "right"),
        ("left", "skip"),
    ):
        after, before = an("after", "ppo"), an("before", "chat")
        pair = (after, before) if side == "left" else (before, after)
        judgements.add("p", *pair, judgement)
    judge(judgements, 1)
    found = judgements.wins("chat", "ppo")
    assert (found["n"], found["share"]) == (4, 0.625)
    assert found["low"] < 0.625 < found["high"]


def test_the_interval_is_wilsons():
    assert interval(0, 0) == (0.0, 1.0)
    assert interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_damaged_lines_are_passed_over_but_a_cut_one_ends_the_file(judgements):
    judge(judgements, 1)
    with judgements.file.open("a") as file:
        file.write('{"number": 2')  # killed while it was written
    with pytest.warns(match="line 2 cannot be read"):
        judge(judgements, 3)
    with pytest.warns(match="line 2 cannot be read"):
        found = judgements.all()
    assert [each.prompt for each in found] == ["prompt 1", "prompt 3"]


@pytest.mark.parametrize(
    ("model", "name"),
    [("words-sft", "words-sft"), ("deep/rl", "deep-rl-"), ("../x", "x-"), ("", "model-"), (".a", "a-")],
)
def test_files_are_named_after_the_model(model, name):
    found = file_name(model)
    assert found.startswith(name)
    assert "/" not in found
    assert not found.startswith(".")


def test_models_of_like_names_have_their_own_files():
    assert len({file_name(each) for each in ("a/b", "a-b", "a b", "a.b")}) == 4


def test_lines_are_json(judgements):
    judge(judgements, 1)
    line = json.loads(judgements.file.read_text())
    assert (line["prompt"], line["left"]["seed"], line["right"]["seed"], line["judgement"]) == (
        "prompt 1",
        1,
        2,
        "left",
    )
