"""Instructions by name: `instructions:TEXT`."""

import json

import pytest

from folio.data import known
from folio.data.corpora import split
from folio.data.known import find_conversations, find_prompts, text_of_instructions
from folio.errors import UserError


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.setattr(known, "N_INSTRUCTIONS", 50)
    monkeypatch.setattr(known, "N_HELD_OUT_INSTRUCTIONS", 20)
    path = tmp_path / "my.txt"
    path.write_text("".join(f"Line {n} of a text that goes on and on.\n" for n in range(200)))
    return path


def test_instructions_are_made_of_a_text(text):
    parts = find_conversations([f"instructions:{text}"])
    assert (len(parts.train), len(parts.validation)) == (50, 20)
    assert parts.origin == f"instructions made of {text}"
    # Of the text's last tenth, which pretraining has not seen either.
    held_out = split(text.read_text())[1]
    assert all(each.columns["fields"].get("line", "") in held_out for each in parts.validation)


def test_their_requests_are_prompts_with_columns_for_the_checkers(text):
    prompts = find_prompts([f"instructions:{text}"]).train
    assert all(each[-1]["role"] == "user" and {"skill", "fields"} <= each.columns.keys() for each in prompts)


@pytest.mark.parametrize(
    ("data", "found"),
    [("instructions:my.txt", "my.txt"), ("instructions:", None), ("instructions", None), ("a/b:c:d", None)],
)
def test_the_name_says_the_text(data, found):
    assert text_of_instructions(data) == found


def test_a_text_that_is_not_there_is_a_mistake():
    with pytest.raises(UserError, match=r"no file or folder 'nothing\.txt'"):
        find_conversations(["instructions:nothing.txt"])


def test_instructions_go_with_conversations(text, tmp_path):
    """What each of several data holds out is held out of all."""
    chats = tmp_path / "chats.jsonl"
    rows = [{"prompt": f"question {n}", "completion": "answer"} for n in range(20)]
    chats.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made, talk = (find_conversations([each]) for each in (f"instructions:{text}", str(chats)))
    both = find_conversations([f"instructions:{text}", str(chats)])
    assert both.train == [*made.train, *talk.train]
    assert both.validation == [*made.validation, *talk.validation]
    assert both.origin == f"{made.origin}; {talk.origin}"
    prompts = find_prompts([f"instructions:{text}", str(chats)])
    assert len(prompts.train) == len(both.train)
    with pytest.raises(
        UserError, match=r"validation data go with one source: of 2, instructions:.*, each holds out"
    ):
        find_conversations([f"instructions:{text}", str(chats)], str(chats))


@pytest.mark.parametrize("find", [find_conversations, find_prompts])
def test_requests_are_of_skills_whose_answers_can_be_better_or_worse(find, tmp_path, text):
    things = [
        f"{a}{b}"
        for a in ("king", "sor", "gar", "can", "sum")
        for b in ("dom", "row", "den", "dle", "mer", "ter")
    ]
    lines = (f"A {things[n % 30]} in year {n} is not the {things[n // 8 % 30]} of old." for n in range(900))
    (tmp_path / "verse.txt").write_text("\n".join(lines))
    parts = find([f"requests:{tmp_path / 'verse.txt'}"])
    for part in (parts.train, parts.validation):
        assert {each.columns["skill"] for each in part} <= {"about", "poem"}


def test_a_text_without_such_requests_is_asked_for_others(tmp_path, text):
    (tmp_path / "short.txt").write_text("".join(f"it is {n} to me and so\n" for n in range(300)))
    parts = find_conversations([f"requests:{tmp_path / 'short.txt'}"])
    assert {each.columns["skill"] for each in parts.train} >= {"repeat", "capitals"}
