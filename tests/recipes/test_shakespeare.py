"""The rubric and the checker of the recipe shakespeare: requests met, and good verse."""

import importlib.util
from itertools import pairwise
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folio.config import PACKAGED_RECIPES
from folio.data.corpora import KNOWN_CORPORA, Corpus, data_folders, load_corpus
from folio.data.instructions import make_instructions
from folio.data.material import Material
from folio.data.skills import SKILLS
from folio.errors import UserError
from folio.rl.functions import load_function

VERSE = "For fear, I promise you, if I look pale,\nI love thee."
RECIPE = PACKAGED_RECIPES / "shakespeare"
met = load_function(f"{RECIPE / 'checker.py'}:met")


def load() -> ModuleType:
    """The rubric as a module, not yet known to anybody."""
    spec = importlib.util.spec_from_file_location("rubric", RECIPE / "rubric.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def little() -> ModuleType:
    """The rubric with a text of its own, for which no file is needed."""
    module = load()
    said = module.words(VERSE)
    known = module.Plays(frozenset(said), frozenset(pairwise(said)))
    module.plays = lambda: known
    return module


RUBRIC = little()
LADDERS = {
    "vocabulary": ["Zq wxv.", "For fear, I promise you, if I look plae.", VERSE],
    "phrasing": ["Pale look I if you promise I fear for.", "For fear, I promise if I look pale you.", VERSE],
    "sentences": ["for fear, I promise you, if", "for fear, I promise you.", VERSE],
    "length": ["A", "For fear.", "For fear, I promise you.", VERSE],
    "verse": ["for fear,\ni promise you", "For fear,\ni promise you", "For fear,\nI promise you"],
}  # fmt: skip


def test_there_is_a_ladder_for_every_criterion_and_weights_add_up():
    assert list(LADDERS) == list(RUBRIC.CRITERIA)
    assert sum(weight for weight, _ in RUBRIC.CRITERIA.values()) == pytest.approx(1.0)
    assert RUBRIC.verse_quality(VERSE) == pytest.approx(1.0)


@pytest.mark.parametrize("name", LADDERS)
def test_a_criterion_moves_the_right_way(name):
    values = [RUBRIC.CRITERIA[name][1](text) for text in LADDERS[name]]
    assert values == sorted(set(values))
    assert values[-1] == 1


def test_a_request_that_is_met_is_a_part_of_a_free_answer_and_all_of_the_others():
    fields = {"word": "love"}
    assert RUBRIC.score("", VERSE, "about", fields) == pytest.approx(1.0)
    assert RUBRIC.score("", VERSE, "about", {"word": "hate"}) == pytest.approx(1 - RUBRIC.MET)
    assert RUBRIC.score("", "?", "about", fields) == 0.0
    assert RUBRIC.score("", "zq", "repeat", {"line": "zq"}) == 1.0
    assert RUBRIC.score("", VERSE, "repeat", {"line": "zq"}) == 0.0
    named = RUBRIC.score("", f"ANNA:\n{VERSE}", "speak as", {"name": "ANNA"})
    assert named == pytest.approx(1.0), "a speaker's name is no verse"


def test_the_checker_is_that_of_the_skill():
    assert met("", VERSE, "about", {"word": "love"}) == 1.0
    assert met("", VERSE, "about", {"word": "hate"}) == 0.0


@given(st.sampled_from(sorted(SKILLS)), st.text(max_size=200))
def test_a_score_is_a_number_from_0_to_1(skill, completion):
    fields = {"line": "a", "start": "a", "word": "a", "n": "two", "name": "a", "speech": "a"}
    assert 0 <= RUBRIC.score("", completion, skill, fields) <= 1
    assert met("", completion, skill, fields) in (0.0, 1.0)


def test_what_stands_in_for_the_plays_is_refused(monkeypatch):
    module = load()
    python = Corpus("python-reference", "def", "Python", ("shakespeare is not on this machine.",))
    monkeypatch.setattr(module, "load_corpus", lambda name: python)
    with pytest.raises(UserError, match="needs the plays"):
        module.score("", VERSE, "about", {"word": "love"})


@pytest.mark.skipif(
    not any((folder / KNOWN_CORPORA["shakespeare"].path).exists() for folder in data_folders()),
    reason="Tiny Shakespeare is not on this machine",
)
def test_the_plays_own_answers_are_better_than_broken_ones():
    module = load()
    text, held_out = load_corpus("shakespeare").split()
    asked = make_instructions(Material(held_out, is_held_out=True, seen=Material(text).lines), 200, seed=3)
    free = [each for each in asked if SKILLS[each.columns["skill"]].is_free]
    for each in free:
        assert met("", each[-1]["content"], each.columns["skill"], each.columns["fields"]) == 1.0
    real = [module.verse_quality(each[-1]["content"]) for each in free]
    backwards = [module.verse_quality(" ".join(reversed(each[-1]["content"].split()))) for each in free]
    cut = [module.verse_quality(each[-1]["content"][:-3]) for each in free]
    for broken in (backwards, cut):
        assert sum(a > b for a, b in zip(real, broken, strict=True)) / len(real) > 0.85
