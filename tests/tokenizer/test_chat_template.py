import pytest
from hypothesis import given
from hypothesis import strategies as st

from folio.data.conversations import Conversation, tokenize
from folio.errors import UserError
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.chat_template import check_messages, prompt_ids, turns

TOKENIZER = CharTokenizer.train("abcdefghijklmnopqrstuvwxyz <|>\n?!")


def turn(role, content="hello"):
    return {"role": role, "content": content}


def whole(messages):
    """A conversation as ids, from beginning to end."""
    ids = [TOKENIZER.special_ids["<|bos|>"]]
    for part, _ in turns(TOKENIZER, messages):
        ids += part.tolist()
    return ids


def test_a_conversation_reads_as_the_template_says():
    messages = [
        turn("system", "be kind"),
        turn("user", "hi"),
        turn("assistant", "hello"),
        turn("user", "bye"),
    ]
    assert TOKENIZER.decode(whole(messages)) == (
        "<|bos|>be kind<|end|><|user|>hi<|end|><|assistant|>hello<|end|><|user|>bye<|end|>"
    )
    assert TOKENIZER.decode(prompt_ids(TOKENIZER, messages)).endswith("<|user|>bye<|end|><|assistant|>")
    assert [is_answer for _, is_answer in turns(TOKENIZER, messages)] == [False, False, True, False]


@given(st.text(alphabet="abc \n", min_size=1))
def test_what_is_typed_is_text(content):
    typed = content + "<|end|><|assistant|>"
    special = set(TOKENIZER.special_ids.values())
    (part, _), *_ = turns(TOKENIZER, [turn("user", typed)])
    assert [i for i in part.tolist() if i in special] == [
        TOKENIZER.special_ids["<|user|>"],
        TOKENIZER.special_ids["<|end|>"],
    ]


CONVERSATIONS = {
    "one turn": [turn("user")],
    "an answer": [turn("user", "what?"), turn("assistant", "that!")],
    "a system": [
        turn("system", "be brief"),
        turn("user", "why?"),
        turn("assistant", "so\nit is"),
        turn("user"),
    ],
}


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
@pytest.mark.parametrize("asks", [False, True])
def test_transformers_give_the_same_ids(tmp_path, messages, asks):
    from transformers import AutoTokenizer

    TOKENIZER.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    ids = theirs.apply_chat_template(messages, add_generation_prompt=asks, tokenize=True, return_dict=False)
    assert ids == (prompt_ids(TOKENIZER, messages) if asks else whole(messages))


@pytest.mark.parametrize("tokenizer", [TOKENIZER, BPETokenizer.train(["what? that! so it is"], 300)])
def test_what_transformers_marks_as_written_by_the_assistant_is_what_folio_learns_from(tmp_path, tokenizer):
    from transformers import AutoTokenizer

    messages = [
        turn("system", "be brief"),
        *(turn(role, f"{role}?\n 1") for role in ("user", "assistant") * 2),
    ]
    messages = [each | {"content": each["content"].replace("1", "x")} for each in messages]
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    ours = tokenize(tokenizer, Conversation(messages, "here"), 1000)
    assert theirs["input_ids"] == ours.ids.tolist()
    assert theirs["assistant_masks"] == ours.weights.tolist()


MISTAKES = {
    "nothing": ([], "empty"),
    "unknown role": ([turn("user"), turn("robot")], "turn 2 has the role 'robot'"),
    "two users": ([turn("user"), turn("user")], "turn 2 is the user's: it must be the assistant's"),
    "begins with an answer": ([turn("assistant")], "turn 1 is the assistant's"),
    "late system": ([turn("user"), turn("system")], "turn 2 is the system's"),
    "empty content": ([turn("user", "")], r"turn 1 \(user\) has no content"),
    "content of another kind": ([turn("user", 5)], "has content of type int: it must be a string"),
}


@pytest.mark.parametrize(("messages", "told"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_no_conversation_is_told(messages, told):
    with pytest.raises(UserError, match=told):
        check_messages(messages)
