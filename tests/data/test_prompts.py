"""Prompts from files."""

import json

import pytest

from folio.data.prompts import read_prompts, sample_questions
from folio.errors import UserError

USER, LATER = {"role": "user", "content": "a"}, {"role": "user", "content": "b"}
SYSTEM, ANSWER = {"role": "system", "content": "s"}, {"role": "assistant", "content": "x"}


@pytest.fixture
def write(tmp_path):
    def write(*records):
        path = tmp_path / "prompts.jsonl"
        lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"prompt": "a"}, [USER]),
        ({"prompt": [SYSTEM, USER]}, [SYSTEM, USER]),
        ({"messages": [USER, ANSWER]}, [USER]),
        ({"messages": [USER, ANSWER, LATER]}, [USER, ANSWER, LATER]),
        ({"prompt": [USER, ANSWER]}, [USER]),
        ({"prompt": "a", "chosen": "x", "rejected": "y"}, [USER]),
        ({"prompt": None, "messages": [USER, ANSWER]}, [USER]),
    ],
    ids=["text", "system", "conversation", "long", "ends with an answer", "preference", "an empty column"],
)
def test_whatever_has_a_prompt_is_read_up_to_the_last_question(write, record, expected):
    assert read_prompts(write(record)) == [expected]


def test_the_row_of_a_prompt_is_kept(write):
    row = {"question": "a", "answer": "b", "level": 3, "tests": ["c", None]}
    (prompt,) = read_prompts(write(row))
    assert prompt.columns == row


MISTAKES = {
    "broken JSON": ("{", "not valid JSON"),
    "nothing known": ({"text": "a"}, "it must have `prompt`"),
    "no object": ("3", "it must be an object"),
    "empty": ({"prompt": ""}, "turn 1 (user) has no content"),
    "no turns": ({"messages": []}, "the conversation is empty"),
    "nobody asks": ({"messages": [SYSTEM]}, "no turn is the user's"),
    "wrong role": ({"messages": [{"role": "tool", "content": "a"}]}, "turn 1 has the role 'tool'"),
    "the assistant begins": ({"messages": [ANSWER, USER]}, "turn 1 is the assistant's"),
}


@pytest.mark.parametrize(("record", "told"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_no_prompt_is_told_with_its_line(write, record, told):
    path = write({"prompt": "a"}, record)
    with pytest.raises(UserError) as caught:
        read_prompts(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert told in str(caught.value)


def test_a_file_without_prompts(write):
    with pytest.raises(UserError, match="holds no prompts"):
        read_prompts(write("", " "))


def test_sample_questions_are_short_and_from_all_parts():
    def asked(*texts):
        return sample_questions([[{"role": "user", "content": text}] for text in texts])

    assert asked("a", "b" * 200, "c", "d", "e", "f", "g") == ["a", "d", "f"]
    assert asked("a" * 400, "b" * 200, "c" * 300, "d" * 500) == ["b" * 200, "c" * 300, "a" * 400]
    assert asked("a") == ["a"]
