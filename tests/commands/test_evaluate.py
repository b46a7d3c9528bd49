"""`folio evaluate`: what is in a file says how it is evaluated."""

import json

import pytest
from random_models import TOKENIZER, random_scorer
from tiny import make_text

import folio as package
from folio.data.preferences import preference_of
from folio.evaluation.bits_per_byte import bits_per_byte
from folio.evaluation.preferences import evaluate_preferences
from folio.evaluation.questions import evaluate_questions
from folio.runs.rewards import load_reward_model

CHOICES = [{"query": "the cat on", "choices": ["mat", "cat"], "gold": n % 2} for n in range(6)]
PAIRS = [{"sentence_good": "the cat sat", "sentence_bad": "cat the sat", "UID": "order"}] * 3


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    for name, rows in (
        ("set/choices.test", CHOICES),
        ("set/pairs", PAIRS),
        ("texts", [{"text": "the cat"}, {"text": "sat on"}]),
    ):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "words.txt").write_text(make_text(40), encoding="utf-8")
    return tmp_path


def test_texts_and_questions_and_folders_of_them(folio, finished, data):
    done = folio("evaluate", finished, "words.txt", "texts.jsonl", "set", "--json", "out.json")
    assert (done.code, done.err) == (0, "")
    found = json.loads((data / "out.json").read_text())
    assert list(found["results"]) == ["words.txt", "texts.jsonl", "set/choices.test.jsonl", "set/pairs.jsonl"]
    model, tokenizer = package.load(finished)
    text = found["results"]["words.txt"]
    assert {**bits_per_byte(model, tokenizer, make_text(40)), "bz2": text["bz2"], "xz": text["xz"]} == text
    assert found["results"]["texts.jsonl"]["n_bytes"] == len("the cat\n\nsat on")
    assert found["results"]["set/choices.test.jsonl"] == evaluate_questions(model, tokenizer, CHOICES)
    out = " ".join(done.out.split())
    for words in (
        "bits per byte (bz2",
        "50.0% right",
        "guessing 50.0%; 6 questions",
        "set, mean",
        "3 questions",
        "9 questions",
    ):
        assert words in out


def test_a_folder_may_have_both_texts_and_questions(folio, finished, data):
    (data / "set" / "words.md").write_text("the cat sat on the mat")
    out = folio("evaluate", finished, "set").out
    assert out.count("questions") == 3, "two files, and their mean"
    assert "bits per byte" in out


def test_a_limit_takes_some_of_each_file(folio, finished, data):
    folio("evaluate", finished, "set", "--limit", 2, "--json", "out.json")
    results = json.loads((data / "out.json").read_text())["results"]
    assert [each["n"] for each in results.values()] == [2, 2]


def test_mistakes_are_one_line_and_told_before_anything_is_evaluated(folio, finished, data):
    assert "name texts or questions" in folio("evaluate", finished).mistake
    assert "nothing.jsonl" in folio("evaluate", finished, "set", "nothing.jsonl").mistake
    (data / "both.jsonl").write_text('{"text": "a"}\n' + json.dumps(CHOICES[0]) + "\n")
    assert "has both texts and questions" in folio("evaluate", finished, "both.jsonl").mistake
    (data / "other.jsonl").write_text('{"a": 1}\n')
    assert (
        "other.jsonl, line 1: it must have `text`; or `sentence_bad`"
        in folio("evaluate", finished, "other.jsonl").mistake
    )
    (data / "empty").mkdir()
    assert "has no .txt" in folio("evaluate", finished, "empty").mistake
    assert "no such run" in folio("evaluate", "nowhere", "set").mistake


def test_what_the_model_cannot_read_does_not_keep_the_rest_from_it(folio, finished, data):
    (data / "greek.jsonl").write_text(json.dumps({"context": "αβγ", "continuation": "δ"}) + "\n")
    done = folio("evaluate", finished, "greek.jsonl", "set/pairs.jsonl")
    assert "greek.jsonl: 1 of 1 questions have characters that the model has never seen" in done.mistake
    assert "3 questions" in done.out


PREFERENCES = [
    {"prompt": f"{word} a", "chosen": f"bad {word}", "rejected": "face a bad cab"}
    for word in ("fed", "dab", "a")
]


def test_preferences_are_for_a_reward_model(folio, data):
    package.save(random_scorer(block_size=64), TOKENIZER, "scorer")
    rows = "".join(json.dumps(row) + "\n" for row in PREFERENCES)
    (data / "pairs.jsonl").write_text(rows)
    done = folio("evaluate", "scorer", "pairs.jsonl", "--json", "out.json")
    assert (done.code, done.err) == (0, "")
    found = json.loads((data / "out.json").read_text())["results"]["pairs.jsonl"]
    model, tokenizer = load_reward_model(data / "scorer")
    assert found == evaluate_preferences(model, tokenizer, [preference_of(row, "") for row in PREFERENCES])
    assert (found["n"], found["longer_accuracy"]) == (3, 0)
    assert "the longer answer is in 0.0%" in " ".join(done.out.split())
    assert "evaluate on them alone" in folio("evaluate", "scorer", "pairs.jsonl", "words.txt").mistake
    (data / "both.jsonl").write_text(rows + json.dumps({"text": "a"}) + "\n")
    assert "has both texts and preferences" in folio("evaluate", "scorer", "both.jsonl").mistake
