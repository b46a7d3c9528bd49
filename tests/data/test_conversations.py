import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from folio.data.conversations import (
    LEAST_ROW,
    Example,
    PackedConversations,
    batch_of,
    pack,
    packed_rows,
    read_conversations,
    tokenize,
    tokenize_all,
)
from folio.errors import FolioWarning, UserError
from folio.model.config import GPTConfig
from folio.model.gpt import GPT
from folio.objectives.next_token import next_token_loss
from folio.tokenizer.char import CharTokenizer

TOKENIZER = CharTokenizer.train("abcdefghijklmnopqrstuvwxyz ?!")
PAD = TOKENIZER.special_ids["<|pad|>"]


def talk(*contents):
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]


def write_lines(path, *records):
    path.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in records))
    return path


def test_only_what_the_assistant_writes_counts():
    example = tokenize(TOKENIZER, talk("hi", "yo", "ok", "go"), max_tokens=100)
    counted = [i for i, weight in zip(example.ids, example.weights, strict=True) if weight]
    assert TOKENIZER.decode(counted) == "yo<|end|>go<|end|>"


def test_an_answer_of_weight_0_is_context():
    question, answer = talk("hi", "yo")
    example = tokenize(TOKENIZER, [question, {**answer, "weight": 0}, *talk("ok", "go")], max_tokens=100)
    counted = [i for i, weight in zip(example.ids, example.weights, strict=True) if weight]
    assert TOKENIZER.decode(counted) == "go<|end|>"
    assert "yo<|end|>" in TOKENIZER.decode(example.ids)
    assert tokenize(TOKENIZER, [question, {**answer, "weight": 0}], max_tokens=100) is None


def test_the_first_answered_token_is_counted():
    """It is predicted at the assistant's token: an old mistake leaves it out."""
    (row,) = pack([tokenize(TOKENIZER, talk("hi", "yo"), 100)], 20, PAD)
    first = int(row.weights.nonzero()[0][0])
    assert row.ids[first] == TOKENIZER.special_ids["<|assistant|>"]
    assert TOKENIZER.decode([row.targets[first]]) == "y"


@pytest.mark.parametrize(
    ("max_tokens", "kept"),
    [(17, "<|bos|><|user|>hi<|end|><|assistant|>yo<|end|><|user|>ok<|end|><|assistant|>go<|end|>"),
     (16, "<|bos|><|user|>hi<|end|><|assistant|>yo<|end|>"),
     (9, "<|bos|><|user|>hi<|end|><|assistant|>yo<|end|>"),
     (8, None)],
)  # fmt: skip
def test_long_conversations_are_cut_after_an_answer(max_tokens, kept):
    example = tokenize(TOKENIZER, talk("hi", "yo", "ok", "go"), max_tokens)
    assert (example and TOKENIZER.decode(example.ids)) == kept


def test_a_last_question_without_an_answer_is_left_out():
    example = tokenize(TOKENIZER, talk("hi", "yo", "ok"), 100)
    assert TOKENIZER.decode(example.ids).endswith("yo<|end|>")


@pytest.mark.parametrize("position", ["rotary", "learned"])
def test_packed_together_and_apart_they_have_the_same_loss(position):
    """So none sees another, positions begin anew, and padding counts for nothing."""
    config = GPTConfig(vocab_size=TOKENIZER.vocab_size, block_size=64, n_layer=2, n_head=2, n_kv_head=1, n_embd=16,
                       head_size=8, mlp_size=16, position=position)  # fmt: skip
    model = GPT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    examples = [
        tokenize(TOKENIZER, talk("hi", answer), 100) for answer in ("yo", "yo yo yo yo", "no", "well well")
    ]
    (row,) = pack(examples, 64, PAD)
    together = next_token_loss(model, batch_of([row]))
    apart = [next_token_loss(model, batch_of(pack([each], len(each.ids), PAD))) for each in examples]
    torch.testing.assert_close(together.total, sum(loss.total for loss in apart))
    assert together.count == sum(loss.count for loss in apart) == 3 + 12 + 3 + 10


@given(st.lists(st.integers(2, 12), min_size=1, max_size=40))
def test_packing_keeps_every_conversation_whole(lengths):
    examples = [Example(np.arange(n) + 100 * i, np.ones(n, dtype=np.float32)) for i, n in enumerate(lengths)]
    rows = pack(examples, 11, pad_id=-1)
    found = {}
    for row in rows:
        for segment in range(row.segments.max() + 1):
            held = row.segments == segment
            if row.weights[held].any():
                assert np.diff(held.nonzero()[0]).max(initial=1) == 1
                found[row.ids[held][0] // 100] = [*row.ids[held], row.targets[held][-1]]
            else:
                assert (row.ids[held] == -1).all()
    assert found == {i: list(example.ids) for i, example in enumerate(examples)}
    assert sum(len(row.ids) for row in rows) < 2 * sum(n - 1 for n in lengths) + 11


def numbered_rows(n):
    return pack([Example(np.full(12, i), np.ones(12, dtype=np.float32)) for i in range(n)], 11, pad_id=-1)


@given(st.integers(1, 30), st.integers(1, 7))
def test_every_row_comes_once_an_epoch(n, batch_size):
    source = PackedConversations(numbered_rows(n), batch_size=batch_size, seed=1)
    seen = [int(i) for _ in range(2 * n) for i in next(source).ids[:, 0]]
    for epoch in range(2 * batch_size):
        assert sorted(seen[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_a_source_goes_on_where_it_was():
    one, two = (PackedConversations(numbered_rows(10), batch_size=3, seed=1) for _ in range(2))
    for _ in range(6):
        next(one)
    two.load_state_dict(one.state_dict())
    assert all(torch.equal(next(one).ids, next(two).ids) for _ in range(9))


def test_files_and_folders_are_read(tmp_path):
    write_lines(
        tmp_path / "a.jsonl", {"messages": talk("hi", "yo")}, "", {"prompt": "why?", "completion": "so!"}
    )
    write_lines(tmp_path / "b.jsonl", {"messages": talk("ok", "go")})
    assert read_conversations(tmp_path) == [talk("hi", "yo"), talk("why?", "so!"), talk("ok", "go")]
    assert len(read_conversations(tmp_path / "a.jsonl")) == 2


def test_a_conversation_knows_where_it_was_found(tmp_path):
    path = write_lines(
        tmp_path / "a.jsonl", {"messages": talk("hi", "yo")}, "", {"messages": talk("hi", "ξ")}
    )
    found = read_conversations(tmp_path)
    assert [each.where for each in found] == [f"{path}, line 1", f"{path}, line 3"]
    with pytest.raises(UserError, match=r"does not know: 'ξ' \(1 time, first in .*a\.jsonl, line 3\)"):
        tokenize_all(TOKENIZER, found, 20)


def test_conversations_that_do_not_fit_are_none(tmp_path):
    path = write_lines(
        tmp_path / "a.jsonl", {"messages": talk("hi", "yo")}, {"messages": talk("hi", "yo yo")}
    )
    one, two = tokenize_all(
        TOKENIZER, read_conversations(path), 8
    )  # 9 tokens, of which the last is a target only
    assert (len(one.ids), two) == (9, None)
    with pytest.raises(UserError, match="none of 2 conversations has a first answer within 7 tokens"):
        tokenize_all(TOKENIZER, read_conversations(path), 7)


MISTAKES = {
    "broken JSON": ('{"messages": [', "line 2: not valid JSON"),
    "no object": ("[1]", "line 2: it must be an object"),
    "no messages": ({"text": "hi", "id": None}, "line 2: it must have `messages`, .* and has text\\."),
    "messages of another kind": ({"messages": ["hi"]}, "line 2: messages must be objects"),
    "no answer": ({"messages": talk("hi")}, "line 2: no turn is the assistant's"),
    "two users": ({"messages": [talk("hi")[0]] * 2}, "line 2: turn 2 is the user's"),
    "content in parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}, *talk("hi", "hi")[1:]]},
        "line 2: turn 1 \\(user\\) has content of type list: it must be a string",
    ),
    "empty content": ({"messages": talk("hi", "")}, "line 2: turn 2 \\(assistant\\) has no content"),
    "a weighted question": (
        {"messages": [{"weight": 1, **talk("a")[0]}]},
        "line 2: a message of the role 'user' has the weight 1",
    ),
    "nothing to learn": (
        {"messages": [*talk("a"), {"role": "assistant", "content": "b", "weight": 0}]},
        "weight 0",
    ),
    "an answer that is no number": (
        '{"prompt": "hi", "completion": NaN}',
        "line 2: it must have .* and has prompt",
    ),
    "empty completion": ({"prompt": "hi", "completion": ""}, "line 2: turn 2"),
}


@pytest.mark.parametrize(("line", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named_with_their_line(tmp_path, line, told):
    path = write_lines(tmp_path / "talk.jsonl", {"messages": talk("hi", "yo")}, line)
    with pytest.raises(UserError, match=told):
        read_conversations(path)


def test_a_file_without_conversations_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no conversations"):
        read_conversations(write_lines(tmp_path / "talk.jsonl", ""))
    with pytest.raises(UserError, match="cannot be read"):
        read_conversations(tmp_path / "nothing.jsonl")


def test_a_text_is_not_taken_for_conversations(tmp_path):
    (tmp_path / "talk.txt").write_text("Once upon a time\nthere was a cat.\n")
    with pytest.raises(
        UserError, match=r'talk\.txt is a text, and conversations are needed: rows such as \{"messages"'
    ):
        read_conversations(tmp_path / "talk.txt")


def test_fields_that_python_code_gives_are_named_as_those_of_files():
    rows = [{"messages": talk("hi", "yo"), "id": 1}] * 2
    with pytest.warns(FolioWarning, match=r"^conversations: fields not used: id \(2 rows\)$"):
        packed_rows(rows, TOKENIZER, 20)
    with pytest.raises(UserError, match=r"^conversation 1: it must have `messages`"):
        packed_rows([{"text": "hi"}], TOKENIZER, 20)


def test_rows_are_as_long_as_conversations_need_not_as_the_context_allows():
    short = [Example(np.full(12, i), np.ones(12, dtype=np.float32)) for i in range(200)]
    assert {len(row.ids) for row in pack(short, 131_072, pad_id=-1)} == {LEAST_ROW}
    long = Example(np.zeros(5_000, dtype=np.int64), np.ones(5_000, dtype=np.float32))
    assert {len(row.ids) for row in pack([*short, long], 131_072, pad_id=-1)} == {4_999}
