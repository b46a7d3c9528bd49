"""A tokenizer by name."""

import pytest

from folio.errors import UserError
from folio.tokenizer.bpe import BPETokenizer, Split
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.choice import PRINTABLE, TokenizerChoice

TEXT = "the cat Σ"


def made(choice):
    return choice.make(lambda: set(TEXT), lambda: [TEXT])


def test_each_kind_is_made_of_the_text(tmp_path):
    assert made(TokenizerChoice("char", reserves=False)) == CharTokenizer.train(TEXT)
    assert made(TokenizerChoice("char")) == CharTokenizer.train(
        TEXT + TEXT.upper() + TEXT.lower() + PRINTABLE
    )
    assert made(TokenizerChoice("bpe", 265)) == BPETokenizer.train([TEXT], 265)
    BPETokenizer.train(["another"], 263).save(tmp_path)
    assert made(TokenizerChoice(str(tmp_path))) == BPETokenizer.train(["another"], 263)


def test_the_identity_says_which(tmp_path):
    BPETokenizer.train(["another"], 263).save(tmp_path / "a")
    BPETokenizer.train(["one more"], 263).save(tmp_path / "b")
    choices = [
        TokenizerChoice("char"),
        TokenizerChoice("char", reserves=False),
        TokenizerChoice("bpe"),
        TokenizerChoice("bpe", 5000),
        TokenizerChoice("bpe", split=Split(digits=1)),
        TokenizerChoice(str(tmp_path / "a")),
        TokenizerChoice(str(tmp_path / "b")),
    ]
    identities = [choice.identity for choice in choices]
    assert len(set(identities)) == len(choices)
    (tmp_path / "a").rename(tmp_path / "c")
    assert TokenizerChoice(str(tmp_path / "c")).identity == identities[-2]


def test_what_is_none_of_them_is_told():
    with pytest.raises(UserError, match="must be char, bpe or a directory"):
        made(TokenizerChoice("words"))
