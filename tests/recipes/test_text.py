"""The judge of answers to instructions made from any text."""

import pytest

from folio.data.skills import SKILLS
from folio.rl.functions import load_function
from folio.runs.recipes import find_recipe_file

score = load_function(find_recipe_file("text/judge.py:score"))
VERSE = "O love, that stirs the heart of every man,\nAnd turns the winter into summer's day."


def test_an_answer_with_one_right_form_is_right_or_wrong():
    assert score("", "To be", "repeat", {"line": "To be"}) == 1.0
    assert score("", "To bee", "repeat", {"line": "To be"}) == 0.0


def test_a_free_answer_is_judged_by_request_and_form():
    fields = {"word": "love"}
    best = score("", VERSE, "about", fields)
    assert best == pytest.approx(1.0)
    assert score("", VERSE.replace("love", "hate"), "about", fields) < 0.5 < best
    assert (
        score("", "love love love love love love love love love love love love", "about", fields) < best - 0.1
    )
    assert score("", "love", "about", fields) < best - 0.1
    assert score("", VERSE[:-1], "about", fields) == pytest.approx(best - 0.1)


@pytest.mark.parametrize("skill", SKILLS)
def test_every_skill_is_judged(skill):
    fields = {"line": "a b", "start": "a", "word": "a", "n": "two", "name": "A", "speech": "a"}
    assert all(0 <= score("", text, skill, fields) <= 1 for text in ("", "a", VERSE, "\n\n", "?" * 500))
