"""The bytes and the names of tokens."""

import pytest
from byte_level import LINES, TRICKY, gpt2_like, llama3_like, qwen_like

from folio.server.vocabulary import Vocabulary
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.char import CharTokenizer

TOKENIZERS = {
    "char": CharTokenizer(tuple(set("".join((*LINES, *TRICKY))))),
    "bpe": BPETokenizer.train(LINES, 300),
    "gpt2": BPETokenizer(gpt2_like().to_str()),
    "llama3": BPETokenizer(llama3_like().to_str()),
    "qwen": BPETokenizer(qwen_like().to_str()),
}


@pytest.mark.parametrize("text", [*LINES, *TRICKY])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_bytes_of_the_tokens_of_a_text_are_the_text(kind, text):
    tokenizer = TOKENIZERS[kind]
    vocabulary = Vocabulary(tokenizer)
    ids = tokenizer.encode(text)
    assert b"".join(vocabulary.bytes[id] for id in ids) == tokenizer.decode(ids).encode()


def test_names_tell_all_tokens_apart():
    vocabulary = Vocabulary(TOKENIZERS["bpe"])
    names = [vocabulary.name(id) for id in range(len(vocabulary.bytes))]
    assert len(set(names)) == len(names)
    half = TOKENIZERS["bpe"].encode("é")[0]
    assert vocabulary.name(half) == "bytes:\\xc3"
    assert vocabulary.name(TOKENIZERS["bpe"].special_ids["<|end|>"]) == "<|end|>"


def test_special_tokens_and_ids_beyond_have_no_bytes():
    vocabulary = Vocabulary(TOKENIZERS["char"])
    assert {vocabulary.bytes[id] for id in vocabulary.special} == {b""}
    assert vocabulary.name(10_000) == ""
