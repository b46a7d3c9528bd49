import json

import pytest
from byte_level import LIKE, gpt2_like
from tokenizers import Tokenizer, models

from folio.errors import UserError
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.directory import fingerprint, load_tokenizer


@pytest.mark.parametrize("tokenizer", [CharTokenizer.train("the cat"), BPETokenizer.train(["the cat"], 270)])
def test_each_kind_is_read_as_it_was_saved(tmp_path, tokenizer):
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path) == tokenizer


@pytest.mark.parametrize("name", LIKE)
def test_those_of_others_are_read(tmp_path, name):
    LIKE[name]().save(str(tmp_path / "tokenizer.json"))
    assert isinstance(load_tokenizer(tmp_path), BPETokenizer)


def test_files_older_than_the_entry_for_the_kind_are_read(tmp_path):
    content = json.loads(gpt2_like().to_str())
    del content["model"]["type"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert load_tokenizer(tmp_path).encode("the cat").tolist() == gpt2_like().encode("the cat").ids


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Tokenizer(models.Unigram([("a", 0.0)], 0)).to_str(), "of kind Unigram: folio reads byte-level BPE"),
        (Tokenizer(models.WordPiece({"a": 0})).to_str(), "of kind WordPiece: folio reads byte-level BPE"),
        ('{"model": {"vocab": {}}}', "of kind None"),
        ('{"model"', "cannot be read"),
        ("[]", "must hold a JSON object"),
        ('{"model": 3}', "is no tokenizer"),
    ],
)
def test_other_kinds_and_damage_are_told(tmp_path, content, message):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=rf"tokenizer\.json .*{message}"):
        load_tokenizer(tmp_path)


def test_a_directory_without_one_is_named(tmp_path):
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read \(No such file"):
        load_tokenizer(tmp_path)


def test_the_fingerprint_is_that_of_what_makes_the_ids(tmp_path):
    tokenizer = BPETokenizer.train(["the cat"], 270)
    for name in ("a", "b"):
        tokenizer.save(tmp_path / name, block_size=len(name))
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    BPETokenizer.train(["the bat"], 270).save(tmp_path / "c")
    assert fingerprint(tmp_path / "c") != fingerprint(tmp_path / "a")
    for name in ("vocab.json", "merges.txt"):  # GPT-2's
        (tmp_path / name).write_text(name)
    one = fingerprint(tmp_path)
    (tmp_path / "merges.txt").write_text("another")
    assert fingerprint(tmp_path) != one
    with pytest.raises(UserError, match="cannot be read"):
        fingerprint(tmp_path / "none")
