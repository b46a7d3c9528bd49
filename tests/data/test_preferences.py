"""Preferences from files, and batches of them."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import END, PAD, TOKENIZER

from folio.batch import Completions, Uncounted
from folio.data.preferences import Pair, PairBatches, Preference, read_preferences, tokenize_pair
from folio.errors import UserError
from folio.tokenizer.chat_template import prompt_ids

USER = {"role": "user", "content": "a"}
SYSTEM = {"role": "system", "content": "b"}
GOOD = {"prompt": "a", "chosen": "b", "rejected": "c"}


def answer(content):
    return [{"role": "assistant", "content": content}]


@pytest.fixture
def write(tmp_path):
    def write(*records, name="pairs.jsonl"):
        path = tmp_path / name
        lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    "record",
    [
        GOOD,
        {"prompt": [USER], "chosen": answer("b"), "rejected": answer("c")},
        {"prompt": "a", "chosen": [USER, *answer("b")], "rejected": [USER, *answer("c")]},
    ],
    ids=["texts", "messages", "whole conversations"],
)
def test_all_common_forms_are_one(write, record):
    assert read_preferences(write(record)) == [Preference([USER], "b", "c")]


def test_a_conversation_may_be_long_and_have_a_system_turn(write):
    prompt = [SYSTEM, USER, *answer("x"), USER]
    whole = {"prompt": prompt, "chosen": [*prompt, *answer("b")], "rejected": "c"}
    assert read_preferences(write(whole)) == [Preference(prompt, "b", "c")]


def test_of_a_folder_all_files_are_read_and_empty_lines_passed_over(write, tmp_path):
    write({**GOOD, "chosen": "2"}, name="2.jsonl")
    write({**GOOD, "chosen": "1"}, "", "  ", name="1.jsonl")
    write("nothing", name=".hidden.jsonl")
    assert [each.chosen for each in read_preferences(tmp_path)] == ["1", "2"]


def test_line_ends_are_those_of_unix(write):
    (found,) = read_preferences(write({"prompt": "a\r\nb", "chosen": "c\r\n", "rejected": "d\r\n\r\ne"}))
    assert found == Preference([{"role": "user", "content": "a\nb"}], "c\n", "d\n\ne")


MISTAKES = {
    "equal sides": ({**GOOD, "rejected": "b"}, "chosen and rejected are the same"),
    "equal but for the line's end": ({**GOOD, "chosen": "b\r\n", "rejected": "b\n"}, "are the same"),
    "broken JSON": ('{"prompt": "a", ', "not valid JSON"),
    "deep JSON": ("[" * 100_000, "not valid JSON"),
    "no object": ("[1]", "it must be an object"),
    "a key is missing": ({"prompt": "a", "chosen": "b"}, "it must have `prompt`, `chosen` and `rejected`, and has prompt, chosen."),
    "empty prompt": ({**GOOD, "prompt": ""}, "turn 1 (user) has no content"),
    "no messages": ({**GOOD, "prompt": []}, "there is no prompt"),
    "prompt of numbers": ({**GOOD, "prompt": {}}, "must be a text or a list of messages"),
    "messages of texts": ({**GOOD, "prompt": ["a"]}, "messages must be objects with `role` and `content`"),
    "empty answer": ({**GOOD, "rejected": ""}, "rejected must be one answer"),
    "null answer": ({**GOOD, "chosen": None}, "and has prompt, rejected."),
    "two answers": ({**GOOD, "chosen": answer("b") * 2}, "the prompt of chosen ends with the assistant's turn"),
    "answer of the user's": ({**GOOD, "chosen": [USER]}, "chosen must be one answer"),
    "answer without content": ({**GOOD, "chosen": [{"role": "assistant"}]}, "chosen must be one answer"),
    "nothing asked": ({"chosen": "b", "rejected": "c"}, "there is no prompt"),
    "null prompt": ({**GOOD, "prompt": None}, "there is no prompt"),
    "another conversation": ({**GOOD, "chosen": [SYSTEM, USER, *answer("b")]}, "does not begin with the prompt"),
    "other prompts": (
        {"chosen": [USER, *answer("b")], "rejected": [{**USER, "content": "d"}, *answer("c")]},
        "chosen and rejected answer different prompts",
    ),
    "unknown role": ({**GOOD, "prompt": [{"role": "boss", "content": "a"}]}, "turn 1 has the role 'boss'"),
    "no role": ({**GOOD, "prompt": [{"content": "a"}]}, "turn 1 has the role None"),
    "prompt ends with an answer": ({**GOOD, "prompt": [USER, *answer("x")]}, "ends with the assistant's turn"),
    "prompt ends with the system": ({**GOOD, "prompt": [SYSTEM]}, "ends with the system's turn"),
    "roles in the wrong order": ({**GOOD, "prompt": [USER, USER]}, "turn 2 is the user's"),
}  # fmt: skip


@pytest.mark.parametrize(("record", "told"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_no_preference_is_told_with_its_line(write, record, told):
    path = write(GOOD, "", record, GOOD)
    with pytest.raises(UserError) as caught:
        read_preferences(path)
    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_without_preferences(write, tmp_path):
    with pytest.raises(UserError, match="holds no preferences"):
        read_preferences(write(""))
    with pytest.raises(UserError, match=r"absent\.jsonl cannot be read"):
        read_preferences(tmp_path / "absent.jsonl")
    (tmp_path / "pairs.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="looks like UTF-16"):
        read_preferences(tmp_path / "pairs.jsonl")


def test_both_answers_follow_the_same_prompt_and_end_with_the_end_token():
    pair = tokenize_pair(TOKENIZER, Preference([SYSTEM, USER], "ab", "c"))
    assert pair.prompt == prompt_ids(TOKENIZER, [SYSTEM, USER])
    assert pair.chosen == [*TOKENIZER.encode("ab").tolist(), END]
    assert pair.rejected == [*TOKENIZER.encode("c").tolist(), END]
    assert len(pair) == len(pair.prompt) + 3
    assert PAD not in (*pair.prompt, *pair.chosen, *pair.rejected)


def pairs(n):
    return [Pair([i], [i, 100 + i][: 1 + i % 2], [i] * (1 + i % 5)) for i in range(n)]


def test_first_all_chosen_then_all_rejected():
    batch = next(PairBatches(pairs(10), batch_size=4, pad_id=-1, seed=0))
    chosen, rejected = batch.ids.chunk(2)
    assert chosen[:, 0].tolist() == rejected[:, 0].tolist()  # the prompts
    for row, i in enumerate(chosen[:, 0].tolist()):
        for side, expected in ((chosen, pairs(10)[i].chosen), (rejected, pairs(10)[i].rejected)):
            assert side[row, 1 : 1 + len(expected)].tolist() == expected
            assert (side[row, 1 + len(expected) :] == -1).all()


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 3), st.integers(0, 40))
def test_every_pair_once_an_epoch_and_a_state_goes_on_exactly(n, batch_size, seed, taken):
    source = PairBatches(pairs(n), batch_size=batch_size, pad_id=-1, seed=seed)
    seen = Counter()
    for _ in range(source.batches_per_epoch):
        seen.update(next(source).ids[:, 0].tolist())
    assert seen == Counter(dict.fromkeys(range(n), 2))
    for _ in range(taken):
        next(source)
    other = PairBatches(pairs(n), batch_size=batch_size, pad_id=-1, seed=seed)
    other.load_state_dict(json.loads(json.dumps(source.state_dict())))
    for _ in range(3):
        assert next(other).ids.tolist() == next(source).ids.tolist()


def test_epochs_differ_and_so_do_seeds():
    def order(source):
        return [next(source).ids[:, 0].tolist() for _ in range(source.batches_per_epoch)]

    source = PairBatches(pairs(40), batch_size=4, pad_id=-1, seed=0)
    first = order(source)
    assert first != order(source)
    assert first != order(PairBatches(pairs(40), batch_size=4, pad_id=-1, seed=1))
    assert first == order(PairBatches(pairs(40), batch_size=4, pad_id=-1, seed=0))


def test_ranks_share_the_pairs_of_each_batch():
    some = pairs(9)  # of which the last batch has one
    whole = PairBatches(some, batch_size=4, pad_id=PAD, seed=1)
    sources = [PairBatches(some, batch_size=4, pad_id=PAD, seed=1) for _ in range(3)]
    for _ in range(6):
        batch = next(whole)
        parts = [source.share(1, rank, 3)[0] for rank, source in enumerate(sources)]
        counted = [part for part in parts if not isinstance(part, Uncounted)]
        assert sorted(row for part in counted for row in texts(part)) == sorted(texts(batch))
        assert len(counted) == min(3, len(batch.ids) // 2)
        assert all(source.state_dict() == whole.state_dict() for source in sources)


def texts(batch: Completions) -> list[tuple[int, ...]]:
    return [tuple(each for each in row if each != PAD) for row in batch.ids.tolist()]
