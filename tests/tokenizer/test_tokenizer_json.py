"""Which files of others are taken, and what is said of those that are not."""

import copy
import json
import random
import warnings

import pytest
from byte_level import LIKE, TRICKY, gpt2_like, llama3_like, qwen2_like, trained
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from folio.errors import FolioWarning, UserError
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.directory import load_tokenizer
from folio.tokenizer.tokenizer_json import model_kind, read_content


def written(library, directory, **changes):
    """Write a tokenizer.json, with changes of its content; return the directory."""
    content = json.loads(library.to_str()) | changes
    (directory / "tokenizer.json").write_text(json.dumps(content))
    return directory


# Taken


@pytest.mark.parametrize("make", [llama3_like, qwen2_like])
def test_texts_in_the_shape_of_llama_3_and_qwen2_come_back(tmp_path, make):
    PreTrainedTokenizerFast(tokenizer_object=make()).save_pretrained(tmp_path)
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    for text in (each.replace("<|endoftext|>", "").replace("e\u0301", "\u00e9") for each in TRICKY):
        ids = ours.encode(text)
        assert ids.tolist() == theirs.encode(text, add_special_tokens=False)
        assert ours.decode(ids) == text


def test_a_text_that_is_composed_is_told_once(tmp_path):
    tokenizer = load_tokenizer(written(qwen2_like(), tmp_path))
    assert tokenizer.encode("caf\u00e9").size
    with pytest.warns(FolioWarning, match=r"composed form \(Unicode NFC\)"):
        ids = tokenizer.encode("cafe\u0301")
    assert tokenizer.decode(ids) == "caf\u00e9"
    assert tokenizer.encode("e\u0301").size, "not told again"


def test_the_kind_is_that_of_the_model(tmp_path):
    assert model_kind(read_content(written(gpt2_like(), tmp_path) / "tokenizer.json")) == "BPE"
    assert model_kind({"model": {"merges": []}}) == "BPE", "older than the entry"


# Refused, by name


def lowercase():
    library = gpt2_like()
    library.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    return library


def split(*parts):
    return trained(pre_tokenizers.Sequence(list(parts)), [])


def typed_special():
    """A word that is a special token, and is looked up whole."""
    library = Tokenizer(models.BPE({**llama3_like().get_vocab(), "end": 999}, [], ignore_merges=True))
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[a-z]+|\s|."), "isolated"),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens([AddedToken("end", normalized=False, special=True)])
    return library


def few_bytes():
    vocab = {token: i for i, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    del vocab["Z"]
    library = Tokenizer(models.BPE(vocab, []))
    library.pre_tokenizer, library.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    return library


BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
UNDEFINED = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [],
    "special_tokens": {},
}
REFUSED = {
    "lowercase": (lowercase, {}, "a normalizer of kind Lowercase"),
    "words only": (
        lambda: split(pre_tokenizers.WhitespaceSplit(), BYTES),
        {},
        "pre_tokenizer of kind WhitespaceS",
    ),
    "no spaces": (
        lambda: split(pre_tokenizers.Split(" ", "removed"), BYTES),
        {},
        "a pre_tokenizer that removes text",
    ),
    "a space before": (
        lambda: split(pre_tokenizers.ByteLevel()),
        {},
        "changes text: .* comes back as .* The cat",
    ),
    "no Z": (few_bytes, {}, r"changes text: .*Z.* comes back as "),
    "typed special": (typed_special, {}, "makes special tokens of the text 'a end b'"),
    "no decoder": (gpt2_like, {"decoder": None}, "not byte-level"),
    "undefined": (
        gpt2_like,
        {"post_processor": UNDEFINED},
        "a post_processor with tokens that it does not define",
    ),
    "a list": (gpt2_like, {"normalizer": [1]}, r"a normalizer of kind \[1\]"),
    "odd parts": (gpt2_like, {"pre_tokenizer": {"type": "Sequence"}}, r"cannot be read \(.*\)"),
}


@pytest.mark.parametrize(("make", "changes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_keep_texts_is_refused(tmp_path, capfd, make, changes, message):
    with pytest.raises(UserError, match=rf"tokenizer\.json .*{message}"):
        load_tokenizer(written(make(), tmp_path, **changes))
    assert capfd.readouterr() == ("", ""), "no panic of the library"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dropout": 0.1}, "a model with dropout 0.1"),
        ({"continuing_subword_prefix": "##"}, "a model with continuing_subword_prefix '##'"),
        ({"end_of_word_suffix": "</w>"}, "a model with end_of_word_suffix '</w>'"),
        ({"vocab": {"a": 0, "b": 0}, "merges": []}, "two tokens with the same id"),
        ({"merges": [["q", "zzzz"]]}, "cannot be read"),
    ],
)
def test_models_that_cannot_be_taken_are_refused(tmp_path, changes, message):
    model = json.loads(gpt2_like().to_str())["model"] | changes
    with pytest.raises(UserError, match=message):
        load_tokenizer(written(gpt2_like(), tmp_path, model=model))


@pytest.mark.parametrize("token", [["x"], 5, {"content": ["x"]}, {"content": {"content": "x"}}])
@pytest.mark.parametrize("name", ["bos_token", "eos_token"])
def test_names_of_tokens_are_text(tmp_path, name, token):
    (written(gpt2_like(), tmp_path) / "tokenizer_config.json").write_text(json.dumps({name: token}))
    with pytest.raises(
        UserError, match=rf"tokenizer_config\.json: {name} is .*: it must be the name of a token"
    ):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "config.json"])
@pytest.mark.parametrize("text", ["[" * 200_000, f'{{"a": {"9" * 5000}}}', '{"a"', "\udcff"])
def test_damage_is_told_with_the_files_name(tmp_path, file, text):
    (written(gpt2_like(), tmp_path) / file).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=rf"{file} cannot be read \("):
        load_tokenizer(tmp_path)


def fields(value, path=()):
    """Yield the path to each field of nested tables and lists; of long ones, to the first few."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in list(items)[:4]:
        yield (*path, key)
        yield from fields(each, (*path, key))


@pytest.mark.parametrize("make", [LIKE["gpt2"], llama3_like])
def test_whatever_a_field_holds_the_tokenizer_works_or_is_refused_in_one_line(tmp_path, capfd, make):
    content, draw = json.loads(make().to_str()), random.Random(0)
    values = (None, True, -1, 2**32, 1e30, "", "x", "(", [], {}, ["a"], {"type": "Sequence"})
    for *above, last in fields(content):
        changed = copy.deepcopy(content)
        place = changed
        for key in above:
            place = place[key]
        place[last] = draw.choice(values)
        (tmp_path / "tokenizer.json").write_text(json.dumps(changed))
        try:
            with warnings.catch_warnings(action="ignore", category=FolioWarning):
                tokenizer = BPETokenizer.load(tmp_path)
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            for text in TRICKY:
                assert tokenizer.decode(tokenizer.encode(text)) == text
            assert tokenizer.with_chat_tokens().prompt("the")
    assert capfd.readouterr() == ("", ""), "no panic of the library"
