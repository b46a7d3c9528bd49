import json

import pytest

from folio.errors import UserError
from folio.files import WriteError
from folio.lecture.progress import Progress, Tries, in_order, progress_file, seed_of
from folio.lecture.quiz import load_quiz


@pytest.fixture
def progress(tmp_path):
    return Progress(tmp_path / "data" / "quiz.json")


def test_it_lies_among_the_users_data(tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    assert progress_file() == tmp_path / "folio" / "quiz.json"


def test_nothing_is_there_before_the_first_answer(progress):
    assert progress.of("01-bigram") == {}
    assert not progress.file.exists()


def test_answers_are_counted_and_the_last_one_decides(progress):
    for is_right in (True, False, False):
        progress.add("01-bigram", "a", is_right)
    progress.add("01-bigram", "b", True)
    progress.add("02-position", "a", True)
    again = Progress(progress.file)
    assert again.of("01-bigram") == {
        "a": Tries(answered=3, right=1, is_missed=True),
        "b": Tries(answered=1, right=1, is_missed=False),
    }
    assert list(again.of("02-position")) == ["a"]


def test_two_at_the_same_time_lose_nothing(progress):
    other = Progress(progress.file)
    progress.add("p", "a", True)
    other.add("p", "b", True)
    progress.add("p", "c", True)
    assert list(progress.of("p")) == ["a", "b", "c"]


def test_what_cannot_be_written_is_remembered_until_it_can(tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    progress = Progress(tmp_path / "data" / "quiz.json")
    for _ in range(2):
        with pytest.raises(WriteError, match="cannot be written"):
            progress.add("p", "a", False)
    assert progress.of("p")["a"] == Tries(answered=2, right=0, is_missed=True)
    (tmp_path / "data").unlink()
    progress.add("p", "b", True)
    assert list(Progress(progress.file).of("p")) == ["a", "b"]


GOOD = {"answered": 1, "right": 1, "is_missed": False}
DAMAGED = {
    "no JSON": "{",
    "a list": "[]",
    "another version": json.dumps({"format": 99, "pages": {}}),
    "no pages": json.dumps({"format": 1}),
    "a page that is a list": json.dumps({"format": 1, "pages": {"p": []}}),
    "a question that is a number": json.dumps({"format": 1, "pages": {"p": {"a": 1}}}),
    "a count below zero": json.dumps({"format": 1, "pages": {"p": {"a": GOOD | {"right": -1}}}}),
    "a lack": json.dumps({"format": 1, "pages": {"p": {"a": {"answered": 1}}}}),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_named_and_stays(progress, content):
    progress.file.parent.mkdir()
    progress.file.write_text(content)
    for use in (lambda: progress.of("p"), lambda: progress.add("p", "a", True)):
        with pytest.raises(UserError, match=r"quiz\.json"):
            use()
    assert progress.file.read_text() == content


def test_what_was_missed_comes_first_and_what_is_known_last():
    first, second, third = load_quiz("01-bigram").questions[:3]
    tries = {
        first.id: Tries(answered=2, right=2, is_missed=False),
        third.id: Tries(answered=1, right=0, is_missed=True),
    }
    assert in_order([first, second, third], tries) == [third, second, first]
    assert [seed_of(each, tries) for each in (first, second, third)] == ["2", "0", "1"]
