"""The columns of public sets, one row as it stands in each."""

import pytest

from folio.data.columns import answers_of, conversation_of, prompt_of
from folio.errors import UserError


def turns(*contents):
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]


def said(*pairs):
    """As in ShareGPT's sets."""
    return [{"from": speaker, "value": words, "weight": None} for speaker, words in pairs]


SYSTEM = {"role": "system", "content": "s"}
ULTRAFEEDBACK = {"prompt": "a", "prompt_id": "0f", "chosen": turns("a", "b"), "rejected": turns("a", "c"),
                 "messages": turns("a", "b"), "score_chosen": 8.5, "score_rejected": 2.0}  # fmt: skip
HH_RLHF = {
    "chosen": "\n\nHuman: a\n\nAssistant: x\n\nmore: y\n\nHuman: z\n\nAssistant: b",
    "rejected": "\n\nHuman: a\n\nAssistant: x\n\nmore: y\n\nHuman: z\n\nAssistant: c d ",
}
ROWS = {
    "smoltalk": ({"messages": [SYSTEM, *turns("a", "b", "c", "d")], "source": "x"},
                 [SYSTEM, *turns("a", "b", "c")], [SYSTEM, *turns("a", "b", "c", "d")]),
    "ultrachat": ({"prompt": "a", "prompt_id": "0f", "messages": turns("a", "b", "c", "d")},
                  turns("a"), turns("a", "b", "c", "d")),
    "GSM8K": ({"question": "a", "answer": "b\n#### 4"}, turns("a"), turns("a", "b\n#### 4")),
    "MATH": ({"problem": "a", "level": "5", "solution": "b"}, turns("a"), turns("a", "b")),
    "AIME": ({"problem": "a", "answer": 33}, turns("a"), turns("a", "33")),
    "SVAMP": ({"Body": "a", "Question": "b", "Answer": 51.0}, turns("a\nb"), turns("a\nb", "51")),
    "Alpaca": ({"instruction": "a", "input": "i", "output": "b", "text": "t"}, turns("a\ni"), turns("a\ni", "b")),
    "Alpaca without input": ({"instruction": "a", "input": "", "output": "b"}, turns("a"), turns("a", "b")),
    "Dolly": ({"instruction": "a", "context": "i", "response": "b"}, turns("a\ni"), turns("a\ni", "b")),
    "ShareGPT": ({"id": "1", "conversations": said(("system", "s"), ("human", "a"), ("gpt", "b"))},
                 [SYSTEM, *turns("a")], [SYSTEM, *turns("a", "b")]),
    "texts": ({"prompt": "a\r\nb", "completion": "c\r\n"}, turns("a\nb"), turns("a\nb", "c\n")),
    "messages": ({"prompt": [SYSTEM, *turns("a")], "completion": turns("", "b")[1:]},
                 [SYSTEM, *turns("a")], [SYSTEM, *turns("a", "b")]),
    "messages of tables": ({"messages": [{**each, "name": None, "tools": None} for each in turns("a", "b")]},
                           turns("a"), turns("a", "b")),
    "empty columns": ({"messages": None, "prompt": "a", "completion": "b", "response": None},
                      turns("a"), turns("a", "b")),
    "UltraFeedback": (ULTRAFEEDBACK, turns("a"), turns("a", "b")),
    "hh-rlhf": (HH_RLHF, turns("a", "x\n\nmore: y", "z"), turns("a", "x\n\nmore: y", "z", "b")),
    "ShareGPT with a system": ({"system": "s", "conversations": said(("human", "a"), ("gpt", "b"))},
                               [SYSTEM, *turns("a")], [SYSTEM, *turns("a", "b")]),
    "the same system twice": ({"system_prompt": "s", "messages": [SYSTEM, *turns("a", "b")]},
                              [SYSTEM, *turns("a")], [SYSTEM, *turns("a", "b")]),
    "Alpaca with a system": ({"system": "s", "instruction": "a", "output": "b"}, [SYSTEM, *turns("a")], [SYSTEM, *turns("a", "b")]),
    "no numbers": ({"instruction": "a", "input": float("nan"), "output": "b"}, turns("a"), turns("a", "b")),
    "a chosen answer": ({"prompt": "a", "chosen": "b", "rejected": "c"}, turns("a"), turns("a", "b")),
}  # fmt: skip


@pytest.mark.parametrize(("row", "prompt", "conversation"), ROWS.values(), ids=ROWS)
def test_conversations_are_read_as_they_stand_in_public_sets(row, prompt, conversation):
    assert conversation_of(row) == conversation
    found = prompt_of(row)  # perhaps with the answer to it, which is for the reader to take off
    assert found[: len(prompt)] == prompt
    assert len(found) <= len(prompt) + 1


PREFERENCES = {
    "UltraFeedback": (ULTRAFEEDBACK, turns("a")),
    "hh-rlhf": (HH_RLHF, turns("a", "x\n\nmore: y", "z")),
    "whole conversations": ({"chosen": turns("a", "b"), "rejected": turns("a", "c")}, turns("a")),
    "answers": ({"prompt": [SYSTEM, *turns("a")], "chosen": turns("", "b")[1:], "rejected": "c"},
                [SYSTEM, *turns("a")]),
    "orca": ({"system": "s", "question": "a", "chosen": "b", "rejected": "c"}, [SYSTEM, *turns("a")]),
    "orca without a system": ({"system": "", "question": "a", "chosen": "b", "rejected": "c"}, turns("a")),
}  # fmt: skip


@pytest.mark.parametrize(("row", "prompt"), PREFERENCES.values(), ids=PREFERENCES)
def test_preferences_are_read_as_they_stand_in_public_sets(row, prompt):
    chosen, rejected = answers_of(row)
    assert chosen[:-1] == rejected[:-1] == prompt
    assert [each[-1]["role"] for each in (chosen, rejected)] == ["assistant"] * 2
    assert (chosen[-1]["content"], rejected[-1]["content"][:1]) == ("b", "c")


def test_columns_are_named_where_none_is_known():
    row = {"text": "a", "id": 3, "label": None}
    for read in (conversation_of, prompt_of, answers_of):
        with pytest.raises(UserError, match=r"it must have `.*, and has text, id\.$"):
            read(row)
        with pytest.raises(UserError, match="and is empty"):
            read({})


@pytest.mark.parametrize("value", [{}, [3], [["a"]], [None], True, 10**400])
def test_what_is_neither_text_nor_messages_is_a_mistake(value):
    with pytest.raises(UserError, match="must be"):
        conversation_of({"prompt": value, "completion": "b"})
    with pytest.raises(UserError, match="must be"):
        conversation_of({"prompt": "a", "completion": value})


def test_a_conversation_has_one_system_turn():
    with pytest.raises(UserError, match="its `system` and the system turn of its messages differ"):
        conversation_of({"system": "other", "messages": [SYSTEM, *turns("a", "b")]})


def test_an_answer_may_have_a_weight():
    question, answer = turns("a", "b")
    weighted = [question, {**answer, "weight": 0}, question, {**answer, "weight": 1.0}]
    assert conversation_of({"messages": weighted}) == [question, {**answer, "weight": 0}, question, answer]


@pytest.mark.parametrize(("n", "weight"), [(0, 1), (1, 0.5), (1, 2), (1, "yes")])
def test_other_weights_are_refused(n, weight):
    messages = turns("a", "b")
    messages[n]["weight"] = weight
    with pytest.raises(UserError, match="has the weight"):
        conversation_of({"messages": messages})
