"""Text from tokens, piece by piece: whole characters, no stop string, and the tokens it is made of."""

import pytest
from byte_level import LINES, TRICKY, gpt2_like
from hypothesis import given
from hypothesis import strategies as st

from folio.server.text import TextRow, decoded
from folio.server.vocabulary import Vocabulary
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.char import CharTokenizer

BYTES = BPETokenizer.train(LINES[:1], 270)
VOCABULARY = Vocabulary(BYTES)
LETTERS = Vocabulary(CharTokenizer(tuple("abcdef ")))
END = BYTES.special_ids["<|end|>"]


def written(vocabulary, ids, stop=(), stop_ids=()):
    """All texts and tokens, as `Writing` asks for them."""
    row = TextRow(vocabulary, stop, stop_ids)
    pieces = []
    for n, id in enumerate(ids, 1):
        pieces.append(row.add(id, None, is_last=n == len(ids)))
        if row.has_stopped:
            break
    return [text for text, _ in pieces], [token for _, tokens in pieces for token in tokens]


@pytest.mark.parametrize("text", [each for each in (*LINES, *TRICKY) if each])
def test_pieces_joined_are_the_text_and_no_piece_has_half_a_character(text):
    ids = BYTES.encode(text).tolist()
    texts, tokens = written(VOCABULARY, ids)
    assert "".join(texts) == text
    assert not any("\ufffd" in piece for piece in texts)
    assert [token.id for token in tokens] == ids
    assert b"".join(VOCABULARY.bytes[token.id] for token in tokens) == text.encode()


def test_half_a_character_at_the_end_is_shown_as_such():
    ids = BYTES.encode("a😀").tolist()[:-1]
    texts, tokens = written(VOCABULARY, ids)
    assert "".join(texts) == "a\ufffd"
    assert [token.id for token in tokens] == ids


def test_a_token_comes_with_its_character_and_at_its_place():
    ids = BYTES.encode("a😀b").tolist()
    row = TextRow(VOCABULARY, (), ())
    shown = [row.add(id, None, is_last=False) for id in ids]
    by_piece = [(text, [token.offset for token in tokens]) for text, tokens in shown if tokens]
    assert by_piece == [("a", [0]), ("😀", [1] * (len(ids) - 2)), ("b", [2])]


@pytest.mark.parametrize(
    ("text", "stop", "shown"),
    [
        ("abcabd", ["abd"], "abc"),
        ("aaab", ["aab"], "a"),
        ("abc", ["abcd"], "abc"),
        ("abcdef", ["f", "cd"], "ab"),
        ("abcd", ["cd", "c"], "ab"),
        ("dead bee", [" b"], "dead"),
        ("abc", ["a"], ""),
    ],
)
def test_a_stop_string_is_never_shown_nor_what_may_become_one(text, stop, shown):
    ids = LETTERS.tokenizer.encode(text).tolist()
    texts, tokens = written(LETTERS, ids, stop)
    assert "".join(texts) == shown
    assert "".join(LETTERS.name(token.id) for token in tokens) == shown
    so_far = ""
    for piece in texts[:-1]:
        so_far += piece
        assert shown.startswith(so_far)


@given(st.text("abc", max_size=12), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
def test_stop_strings_cut_as_a_search_of_the_whole_text_does(text, stop):
    ids = LETTERS.tokenizer.encode(text).tolist()
    texts, _ = written(LETTERS, ids, stop)
    ends = [n for n in range(len(text) + 1) if any(text[:n].endswith(each) for each in stop)]
    cut = min(text[: ends[0]].find(each) for each in stop if each in text[: ends[0]]) if ends else len(text)
    assert "".join(texts) == text[:cut]


def test_a_token_that_is_cut_by_a_stop_string_is_told():
    id = next(id for id, content in enumerate(VOCABULARY.bytes) if len(content) == 3)
    name = VOCABULARY.name(id)
    texts, tokens = written(VOCABULARY, [id], [name[1:]])
    assert "".join(texts) == name[0]
    assert [token.id for token in tokens] == [id]


def test_special_tokens_have_no_text_and_stop_ids_are_not_shown_at_all():
    user = BYTES.special_ids["<|user|>"]
    a, b = BYTES.encode("ab").tolist()
    texts, tokens = written(VOCABULARY, [a, user, b, END], stop_ids=[END])
    assert "".join(texts) == "ab"
    assert [token.id for token in tokens] == [a, user, b]


def test_an_answer_without_tokens_has_no_text():
    assert TextRow(VOCABULARY, (), ()).add(None, None, is_last=True) == ("", [])


def test_ids_that_are_no_tokens_have_no_text():
    assert written(VOCABULARY, [len(VOCABULARY.bytes) + 5])[0] == [""]


@pytest.mark.parametrize("text", LINES)
def test_a_prompt_is_decoded_with_the_place_of_each_token(text):
    ids = [*BYTES.encode(text).tolist(), END]
    found, offsets = decoded(VOCABULARY, ids)
    assert found == BYTES.decode(ids) == f"{text}<|end|>"
    assert offsets[-1] == len(text)
    assert offsets == sorted(offsets)


def test_tokens_of_others():
    library = gpt2_like()
    vocabulary = Vocabulary(BPETokenizer(library.to_str(), eos="<|endoftext|>"))
    text, _ = decoded(vocabulary, library.encode(LINES[1]).ids)
    assert text == LINES[1]
