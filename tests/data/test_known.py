"""Instructions by name: `instructions:TEXT`."""

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
    parts = find_conversations(f"instructions:{text}")
    assert (len(parts.train), len(parts.validation)) == (50, 20)
    assert parts.origin == f"instructions made of {text}"
    # Of the text's last tenth, which pretraining has not seen either.
    held_out = split(text.read_text())[1]
    assert all(each.columns["fields"].get("line", "") in held_out for each in parts.validation)


def test_their_requests_are_prompts_with_columns_for_the_checkers(text):
    prompts = find_prompts(f"instructions:{text}").train
    assert all(each[-1]["role"] == "user" and {"skill", "fields"} <= each.columns.keys() for each in prompts)


@pytest.mark.parametrize(
    ("data", "found"),
    [("instructions:my.txt", "my.txt"), ("instructions:", None), ("instructions", None), ("a/b:c:d", None)],
)
def test_the_name_says_the_text(data, found):
    assert text_of_instructions(data) == found


def test_a_text_that_is_not_there_is_a_mistake():
    with pytest.raises(UserError, match=r"no file or folder 'nothing\.txt'"):
        find_conversations("instructions:nothing.txt")
