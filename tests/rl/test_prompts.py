"""Prompts as ids."""

import pytest
from chatty import make_chatty

from folio.errors import FolioWarning, UserError
from folio.rl.prompts import encode_prompts
from folio.tokenizer.chat_template import prompt_ids


def test_a_text_is_the_users_turn_and_a_conversation_is_itself():
    _, tokenizer = make_chatty()
    messages = [{"role": "user", "content": "a"}]
    first, second = encode_prompts(["a", messages], tokenizer, 10)
    assert first == second
    assert (first.text, list(first.ids)) == ("a", prompt_ids(tokenizer, messages))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("abc", "prompts is the text 'abc': it must be a list"),
        ([], "prompts is empty"),
        (["a", []], "prompt 2: the conversation is empty"),
        ([""], r"prompt 1: turn 1 \(user\) has no content"),
        ([{"role": "user", "content": "a"}], "prompt 1: it must have `prompt`, .* and has role, content"),
        ([[{"role": "assistant", "content": "a"}]], "prompt 1: turn 1 is the assistant's"),
        (
            [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]],
            "prompt 1 ends with the assistant's turn: it must end with the user's",
        ),
    ],
)
def test_what_is_no_list_of_prompts_is_named(prompts, message):
    _, tokenizer = make_chatty()
    with pytest.raises(UserError, match=message):
        encode_prompts(prompts, tokenizer, 10)


def test_a_row_is_its_prompt_with_its_columns():
    _, tokenizer = make_chatty()
    row = {"prompt": "a", "answer": "b"}
    plain, with_columns = encode_prompts(["a", row], tokenizer, 10)
    assert (with_columns.text, list(with_columns.ids)) == (plain.text, list(plain.ids))
    assert (plain.columns, with_columns.columns) == ({}, row)


def test_what_leaves_no_room_is_counted():
    _, tokenizer = make_chatty()
    with pytest.warns(FolioWarning, match="1 of 2 prompts are longer than 6 tokens and left out"):
        kept = encode_prompts(["a", "abcdefgh"], tokenizer, 6)
    assert [prompt.text for prompt in kept] == ["a"]
    with pytest.raises(UserError, match="none of 1 prompts leaves room"):
        encode_prompts(["abcdefgh"], tokenizer, 6)
