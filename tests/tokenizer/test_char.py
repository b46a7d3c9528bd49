import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from folio.errors import UserError
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.special_tokens import SPECIAL_TOKENS

AWKWARD = "a b\r\n\n\t .,' n't  e\u0301é\u200d\u2028\x85\x00<|😀👩‍👩‍👧\U0010ffff"


def test_ids_are_those_of_sorted_characters_then_the_special_tokens():
    tokenizer = CharTokenizer.train("hello")
    assert tokenizer.characters == ("e", "h", "l", "o")
    assert tokenizer.encode("hole").tolist() == [1, 3, 2, 0]
    assert tokenizer.encode("hole").dtype == np.int32
    assert list(tokenizer.special_ids) == ["<|bos|>", "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"]
    assert list(tokenizer.special_ids.values()) == [4, 5, 6, 7, 8]
    assert tokenizer.vocab_size == 9


def test_order_and_repeats_of_characters_do_not_matter():
    assert CharTokenizer("ba") == CharTokenizer(["a", "b", "a"])
    assert hash(CharTokenizer("ba")) == hash(CharTokenizer("ab"))
    with pytest.raises(ValueError, match="length 1"):
        CharTokenizer(["ab"])


@settings(deadline=None)
@given(st.text())
def test_decode_undoes_encode(text):
    tokenizer = CharTokenizer.train(text)
    ids = tokenizer.encode(text)
    assert ids.shape == (len(text),)
    assert tokenizer.decode(ids) == text


def test_decode_names_special_tokens_and_takes_any_integers():
    tokenizer = CharTokenizer("ab")
    assert tokenizer.decode([0, 5, 1]) == "a<|end|>b"
    assert tokenizer.decode(torch.tensor([0, 5, 1])) == "a<|end|>b"
    assert tokenizer.decode([0, 7, -100, 2**40, 1]) == "ab", "no token, as in a padded embedding"


def test_special_tokens_in_text_are_characters():
    tokenizer = CharTokenizer.train("<|end|>")
    assert tokenizer.encode("<|end|>").max() < len(tokenizer.characters)


@pytest.mark.parametrize(
    ("unknown", "shown"), [("z", "'z'"), ("😀", "'😀'"), ("\r", r"'\\r'"), ("\ud83d", r"'\\ud83d'")]
)
def test_an_unknown_character_is_named_with_its_place(unknown, shown):
    with pytest.raises(UserError, match=rf"does not know {shown} \(character 5, line 2\): remove it"):
        CharTokenizer("abc\n").encode(f"ab\nc{unknown}{unknown}a")


def test_a_tokenizer_without_characters_knows_none():
    assert CharTokenizer("").encode("").tolist() == []
    with pytest.raises(UserError, match="character 1, line 1"):
        CharTokenizer("").encode("\x00")


@settings(deadline=None)
@given(st.text(), st.text())
def test_drop_unknown_keeps_what_is_known(known, typed):
    kept, dropped = CharTokenizer.train(known).drop_unknown(typed)
    assert kept == "".join(c for c in typed if c in known)
    assert dropped == "".join(dict.fromkeys(c for c in typed if c not in known))


def saved(tokenizer: CharTokenizer, directory: Path) -> Path:
    tokenizer.save(directory)
    return directory


@settings(deadline=None)
@given(st.text())
def test_load_undoes_save(text):
    tokenizer = CharTokenizer.train(text)
    with tempfile.TemporaryDirectory() as directory:
        assert CharTokenizer.load(saved(tokenizer, Path(directory))) == tokenizer


@pytest.mark.parametrize("model_type", [None, "gpt2", "llama", "qwen3"])
def test_auto_tokenizer_agrees_inside_a_model_directory(tmp_path, model_type):
    transformers = pytest.importorskip("transformers")
    tokenizer = CharTokenizer.train(AWKWARD)
    if model_type:
        config = {
            "model_type": model_type,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "vocab_size": tokenizer.vocab_size,
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
    auto = transformers.AutoTokenizer.from_pretrained(saved(tokenizer, tmp_path))
    assert auto.encode(AWKWARD) == tokenizer.encode(AWKWARD).tolist()
    assert auto.decode(auto.encode(AWKWARD)) == AWKWARD
    assert len(auto) == auto.vocab_size == tokenizer.vocab_size
    assert (auto.bos_token, auto.eos_token, auto.pad_token) == ("<|bos|>", "<|end|>", "<|pad|>")
    assert auto.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(tokenizer.special_ids.values())
    assert (
        auto.decode([*tokenizer.encode("a b").tolist(), auto.eos_token_id], skip_special_tokens=True) == "a b"
    )


@settings(max_examples=25, deadline=None)
@given(st.text(), st.data())
def test_auto_tokenizer_agrees_on_any_text(known, data):
    transformers = pytest.importorskip("transformers")
    tokenizer = CharTokenizer.train(known)
    text = data.draw(st.text(alphabet=sorted(set(known)))) if known else ""
    with tempfile.TemporaryDirectory() as directory:
        auto = transformers.AutoTokenizer.from_pretrained(saved(tokenizer, Path(directory)))
    assert auto.encode(text) == tokenizer.encode(text).tolist()
    assert auto.decode(auto.encode(text)) == text


def test_auto_tokenizer_finds_special_tokens_in_text(tmp_path):
    """The documented difference."""
    transformers = pytest.importorskip("transformers")
    tokenizer = CharTokenizer.train("<|end|>")
    auto = transformers.AutoTokenizer.from_pretrained(saved(tokenizer, tmp_path))
    assert auto.encode("<|end|>") == [tokenizer.special_ids["<|end|>"]]


def test_auto_tokenizer_takes_unknown_characters_for_padding(tmp_path):
    """It must not raise, and folio's own vocabulary stays as it is."""
    transformers = pytest.importorskip("transformers")
    tokenizer = CharTokenizer("ab")
    auto = transformers.AutoTokenizer.from_pretrained(saved(tokenizer, tmp_path))
    assert auto("aüb")["input_ids"] == [0, tokenizer.special_ids["<|pad|>"], 1]
    assert (auto.unk_token, len(auto)) == ("<|pad|>", tokenizer.vocab_size)
    with pytest.raises(UserError, match="does not know 'ü'"):
        CharTokenizer.load(tmp_path).encode("aüb")


def test_auto_tokenizer_learns_the_context(tmp_path):
    transformers = pytest.importorskip("transformers")
    CharTokenizer("ab").save(tmp_path, 32)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path).model_max_length == 32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"model": {"type": "WordLevel", "vo', "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[]", "must hold a JSON object"),
        (b"{}", "is no tokenizer"),
        (b'{"model": []}', "is no tokenizer"),
        (b'{"model": {"type": "WordLevel", "vocab": 3}}', "is no tokenizer"),
        (b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}', "holds a tokenizer of kind BPE"),
        (b'{"model": {"type": "WordLevel", "vocab": {"a": 0}}}', "is not a character tokenizer"),
        (b'{"model": {"type": "WordLevel", "vocab": {"hello": 0}}}', "is not a character tokenizer"),
    ],
)
def test_a_bad_file_is_the_users_to_mend(tmp_path, content, message):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(UserError, match=f"{re.escape(str(tmp_path / 'tokenizer.json'))} {message}"):
        CharTokenizer.load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read \(No such file or directory\)"):
        CharTokenizer.load(tmp_path / "nowhere")
