"""The rubric that plays the people who compare answers: each criterion alone, and on what the plays really say."""

import importlib.util
import json
import math
import re
from itertools import pairwise
from pathlib import Path
from statistics import mean
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import folio.data.corpora
from folio.data.corpora import KNOWN_CORPORA, Corpus, data_folders, load_corpus
from folio.data.plays import dialogues
from folio.errors import UserError

ROOT = Path(__file__).parents[2]
PROMPT = "How now, my friend! why dost thou look so pale?"
REPLY = "For fear, I promise you, if I look pale."


def load(path: str = "src/folio/recipes/plays/rubric.py") -> ModuleType:
    """The file as a module, not yet known to anybody, as a command that is given its path loads it."""
    spec = importlib.util.spec_from_file_location("rubric", ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def little() -> ModuleType:
    """The rubric with a text of its own, for which no file is needed."""
    module = load()
    said = module.words(f"{PROMPT}\n{REPLY}")
    known = module.Plays(frozenset(said), frozenset(pairwise(said)), frozenset({"i", "my", "you"}))
    module.plays = lambda: known
    return module


RUBRIC = little()


@pytest.fixture(scope="module")
def full() -> ModuleType:
    """The rubric with the plays."""
    if not any((folder / KNOWN_CORPORA["shakespeare"].path).exists() for folder in data_folders()):
        pytest.skip("Tiny Shakespeare is not on this machine")
    return load()


@pytest.fixture(scope="module")
def replies(full) -> list[tuple[str, str]]:
    """What the rubric has not seen: speeches and replies of the held-out text."""
    held_out = dialogues(load_corpus("shakespeare").split()[1], 120)
    return [(said["content"], reply["content"]) for said, reply in held_out]


# Whatever is said

texts = st.one_of(
    st.text(max_size=300),
    st.text("aI 'My.!?,-\n", max_size=60),
    st.lists(st.sampled_from(["pale", "look", "I", "zounds", ".", "\n", "Why?"])).map(" ".join),
)


@given(texts, texts)
@example("", "")
@example("a", " \n ")
@example("a", "A")
@example("a", "\x00")
@example(PROMPT, "My lord. " * 2_000)
def test_a_score_is_a_number_from_0_to_1_and_always_the_same(prompt, completion):
    value = RUBRIC.score(prompt, completion)
    assert type(value) is float
    assert math.isfinite(value)
    assert 0 <= value <= 1
    assert RUBRIC.score(prompt, completion) == value


@given(texts, texts.filter(RUBRIC.words))
def test_every_criterion_is_from_0_to_1(prompt, completion):
    for name, (_, criterion) in RUBRIC.CRITERIA.items():
        assert 0 <= criterion(prompt, completion) <= 1, name


@pytest.mark.parametrize("completion", ["", "  \n", "...!", "123", "é"])
def test_without_a_word_nothing_is_won(completion):
    assert RUBRIC.score(PROMPT, completion) == 0.0


def test_weights_add_up_and_the_best_gets_all():
    assert math.fsum(weight for weight, _ in RUBRIC.CRITERIA.values()) == pytest.approx(1)
    assert all(weight > 0 for weight, _ in RUBRIC.CRITERIA.values())
    assert RUBRIC.score(PROMPT, REPLY) == pytest.approx(1)


# One criterion at a time: what each says of completions, worst first

LADDERS = {
    "vocabulary": ["Zq wxv.", "For fear, I promise you, if I look plae.", REPLY],
    "phrasing": ["Pale look I if you promise I fear for.", "For fear, I promise if I look pale you.", REPLY],
    "sentences": ["For fear, I promise you, if", "for fear, I promise you.", REPLY],
    "novelty": ["I look. I look. I look. I look.", "I look pale. I look pale.", REPLY],
    "length": ["A", "For fear.", "For fear, I promise you.", REPLY],
    "verse": ["for fear,\ni promise you", "For fear,\ni promise you", "For fear,\nI promise you"],
    "relevance": ["For fear, I promise you.", REPLY],
}  # fmt: skip


def test_there_is_a_ladder_for_every_criterion():
    assert list(LADDERS) == list(RUBRIC.CRITERIA)


@pytest.mark.parametrize("name", LADDERS)
def test_a_criterion_moves_the_right_way(name):
    values = [RUBRIC.CRITERIA[name][1](PROMPT, completion) for completion in LADDERS[name]]
    assert values == sorted(set(values))
    assert values[-1] == 1


@pytest.mark.parametrize(
    ("name", "completion", "expected"),
    [
        ("vocabulary", "Fear FEAR fear fear fear pale pale pale pale zounds.", 0.5),  # 9 of 10 words known
        ("vocabulary", "I'd look pale.", 0.0),  # I, d, look, pale: 3 of 4
        ("phrasing", "Pale.", 0.0),
        ("phrasing", "I look so zounds.", 1 / 3),  # look so is the prompt's already
        ("sentences", "'I promise you.'", 1.0),
        ("sentences", "I promise you--", 0.0),
        ("sentences", " I promise you.\n", 1.0),
        ("novelty", PROMPT, 0.0),
        ("novelty", "Pale!", 1.0),
        ("length", "I" * 90, 1.0),
        ("length", "I" * 120, 0.5),
        ("length", "I" * 150, 0.0),
        ("length", "I" * 20 + " " * 90, 0.5),
        ("verse", "I" * 56, 0.0),
        ("verse", "I promise.\n\nROMEO:", 2 / 3),
        ("relevance", "My word!", 0.0),  # one of the commonest
        ("relevance", "PALE!", 1.0),
    ],
)
def test_a_criterion_is_what_its_formula_says(name, completion, expected):
    assert RUBRIC.CRITERIA[name][1](PROMPT, completion) == pytest.approx(expected)


def test_one_phrase_over_and_over_earns_less_the_longer_it_is():
    scores = [RUBRIC.phrasing("", "I look pale. " * n) for n in (1, 2, 4, 8)]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.2


# Real replies, and what is left of them when they are spoiled


def test_the_figures_of_the_page_are_what_its_command_finds(full, replies):
    """The page is filled from them: see tests/test_docs.py."""
    calibration = load("benchmarks/rubric.py")
    found = json.loads((ROOT / "benchmarks" / "rubric.json").read_text(encoding="utf-8"))["rows"]
    rows = {row.pop("answers"): row for row in found}
    assert len(replies) == 519
    judged = {"real replies": replies} | {
        name: calibration.broken(name, replies) for name in calibration.BROKEN
    }
    for name, pairs in judged.items():
        row = calibration.row(name, pairs)
        assert row.pop("answers") == name
        assert row == pytest.approx(rows[name], abs=0.005001), "to the two decimals that are shown"


@pytest.mark.parametrize(
    ("name", "wins", "distance"),
    [
        ("words shuffled", 0.85, 0.15),
        ("the same, punctuation kept", 0.85, 0.1),
        ("letters of each word shuffled", 0.95, 0.25),
        ("truncated after 60 %", 0.95, 0.25),
        ("first words repeated five times", 0.95, 0.2),
        ("the prompt repeated", 0.75, 0.1),
        ('"my lord" five times', 0.6, 0.03),
        ("random letters of the same length", 0.95, 0.35),
    ],
)
def test_a_broken_reply_scores_lower(full, replies, name, wins, distance):
    spoiled = load("benchmarks/rubric.py").broken(name, replies)
    pairs = [(full.score(*real), full.score(*broken)) for real, broken in zip(replies, spoiled, strict=True)]
    assert mean(good > bad for good, bad in pairs) > wins
    assert mean(good - bad for good, bad in pairs) > distance


def test_a_reply_suits_its_own_prompt_best(full, replies):
    own = mean(full.relevance(said, reply) for said, reply in replies)
    others = mean(
        full.relevance(said, reply) for (said, _), (_, reply) in zip(replies, replies[100:], strict=False)
    )
    assert own > 3 * others


def test_neither_longer_nor_shorter_always_wins(full, replies):
    scored = [(full.score(said, reply), len(reply)) for said, reply in replies]
    pairs = [(a, b) for a, b in pairwise(scored) if a[0] != b[0] and a[1] != b[1]]
    assert 0.35 < mean((a[0] > b[0]) == (a[1] > b[1]) for a, b in pairs) < 0.65


# The page and the file


def test_the_page_has_the_weights_of_the_file():
    page = (ROOT / "docs" / "rubric.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d\.\d\d) \| `(\w+)`", page, re.MULTILINE)
    assert rows == [(f"{weight:.2f}", name) for name, (weight, _) in RUBRIC.CRITERIA.items()]


def test_every_criterion_says_what_and_why_in_a_line():
    for name, (_, criterion) in RUBRIC.CRITERIA.items():
        assert criterion.__name__ == name
        assert criterion.__doc__
        assert "\n" not in criterion.__doc__


def test_nothing_is_read_before_it_is_needed_and_then_once(monkeypatch):
    read = []

    def corpus(name: str) -> Corpus:
        read.append(name)
        return Corpus(name, REPLY * 10, "a test")

    monkeypatch.setattr(folio.data.corpora, "load_corpus", corpus)
    module = load()
    assert read == []
    module.score(PROMPT, REPLY)
    module.score(PROMPT, "Why?")
    assert read == ["shakespeare"]


def test_what_stands_in_for_the_plays_is_refused(monkeypatch):
    def corpus(name: str) -> Corpus:
        return Corpus("python-reference", "def", "Python", ("shakespeare is not on this machine.",))

    monkeypatch.setattr(folio.data.corpora, "load_corpus", corpus)
    with pytest.raises(UserError, match="not on this machine"):
        load().score(PROMPT, REPLY)


def test_words_of_the_held_out_text_are_not_known(full):
    learned, held_out = load_corpus("shakespeare").split()
    assert "milan" in full.words(held_out)
    assert "milan" not in full.plays().words
    assert full.plays().words == frozenset(re.findall("[a-z]+", learned.lower()))
    assert len(full.plays().common) == 100
    assert {"the", "and", "my", "lord"} <= full.plays().common
