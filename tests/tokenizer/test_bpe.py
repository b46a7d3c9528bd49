import copy
import json
import random
import shutil

import numpy as np
import pytest
from byte_level import LIKE, LINES, OWN, TRICKY, gpt2_like
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from folio.data.corpora import data_folders
from folio.errors import UserError
from folio.tokenizer.bpe import BPETokenizer, Split
from folio.tokenizer.chat_template import prompt_ids
from folio.tokenizer.special_tokens import SPECIAL_TOKENS

TRAINED = BPETokenizer.train(LINES, 300)
MESSAGES = [
    {"role": "system", "content": " be\nbrief "},
    {"role": "user", "content": "What is 😀?"},
    {"role": "assistant", "content": "  the cat."},
    {"role": "user", "content": "\n and then"},
]


@pytest.fixture(params=LIKE)
def directory(request, tmp_path):
    """A tokenizer as `transformers` saves it."""
    PreTrainedTokenizerFast(tokenizer_object=LIKE[request.param](), **OWN[request.param]).save_pretrained(
        tmp_path
    )
    return tmp_path


def saved(tokenizer, path):
    tokenizer.save(path)
    return path


# Oracles


def test_ids_and_texts_are_those_of_transformers(directory):
    theirs, ours = AutoTokenizer.from_pretrained(directory), BPETokenizer.load(directory)
    for text in TRICKY:
        text = text.replace("<|endoftext|>", "")  # noqa: PLW2901  # theirs finds special tokens in text
        ids = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text).tolist() == ids
        for end in range(len(ids) + 1):  # half characters as well
            assert ours.decode(ids[:end]) == theirs.decode(ids[:end], clean_up_tokenization_spaces=False)
        if text:
            assert ours.prompt(text) == theirs.encode(text)
    assert ours.encode("the").dtype == np.int32


def test_with_chat_tokens_the_template_gives_transformers_the_same_ids(directory, tmp_path):
    ours = BPETokenizer.load(directory).with_chat_tokens()
    theirs = AutoTokenizer.from_pretrained(saved(ours, tmp_path / "chat"))
    ids = theirs.apply_chat_template(MESSAGES, add_generation_prompt=True, return_dict=False)
    assert ids == prompt_ids(ours, MESSAGES)
    rendered = theirs.apply_chat_template(MESSAGES, add_generation_prompt=True, tokenize=False)
    assert theirs.encode(rendered) == ids, "nothing is put before <|bos|>"
    assert (theirs.bos_token, theirs.eos_token, theirs.pad_token) == ("<|bos|>", "<|end|>", "<|pad|>")
    assert len(theirs) == ours.vocab_size


def test_gpt2s_own_vocabulary(tmp_path):
    found = [folder / "tokenizer/gpt2" for folder in data_folders()]
    source = next((folder for folder in found if (folder / "encoder.json").exists()), None)
    if source is None:
        pytest.skip("GPT-2's vocabulary is not in a data folder")
    tokenizer = BPETokenizer.load(source)
    assert (tokenizer.vocab_size, tokenizer.special_ids) == (50257, {"<|endoftext|>": 50256})
    assert tokenizer.encode("Hello world").tolist() == [15496, 995]
    assert tokenizer.encode(" Hello world").tolist() == [18435, 995]
    assert tokenizer.encode("<|endoftext|>").tolist() == [27, 91, 437, 1659, 5239, 91, 29]
    assert tokenizer.prompt("") == tokenizer.end_ids == [50256]
    for name, old in (("vocab.json", "encoder.json"), ("merges.txt", "vocab.bpe")):
        shutil.copy(source / old, tmp_path / name)
    assert BPETokenizer.load(tmp_path) == tokenizer
    theirs = AutoTokenizer.from_pretrained(saved(tokenizer, tmp_path / "new"))
    text = " ".join(LINES) + "I'll've, naïve Ünïcode\n\n\t   ½ 한국어 👩‍🚀"
    assert theirs.encode(text) == tokenizer.encode(text).tolist()
    assert BPETokenizer.load(tmp_path / "new") == tokenizer


# Invariants


@given(st.text())
def test_decode_undoes_encode(text):
    assert TRAINED.decode(TRAINED.encode(text)) == text
    assert TRAINED.drop_unknown(text) == (text, "")


@given(st.text(), st.sampled_from(SPECIAL_TOKENS), st.text())
def test_what_is_typed_never_becomes_special(before, token, after):
    special = set(TRAINED.special_ids.values())
    for tokenizer in (TRAINED, copy.deepcopy(TRAINED)):
        assert not special & set(tokenizer.encode(before + token + after).tolist())


@given(st.text(min_size=1))
def test_a_text_is_certain_at_some_id_and_half_before(text):
    """What `stream_text` relies on: a text that does not end in U+FFFD is a beginning of the whole."""
    ids = TRAINED.encode(text).tolist()
    for end in range(len(ids)):
        part = TRAINED.decode(ids[:end])
        assert part.endswith("\ufffd") or text.startswith(part)


def test_decoding_special_and_unknown_ids():
    assert TRAINED.decode([TRAINED.special_ids["<|end|>"], *TRAINED.encode("cat")]) == "<|end|>cat"
    assert TRAINED.decode([TRAINED.vocab_size + 5, -100, 2**40]) == ""


def test_load_undoes_save(directory, tmp_path):
    plain = BPETokenizer.load(directory)
    assert BPETokenizer.load(saved(plain, tmp_path / "plain")) == plain
    assert not (tmp_path / "plain" / "chat_template.jinja").exists()
    chat = plain.with_chat_tokens()
    assert BPETokenizer.load(saved(chat, tmp_path / "chat")) == chat != plain
    assert chat.with_chat_tokens() == chat


def test_chat_tokens_are_new_ids_and_change_no_old_one(directory):
    plain = BPETokenizer.load(directory)
    chat = plain.with_chat_tokens()
    assert [chat.special_ids[token] for token in SPECIAL_TOKENS] == [
        *range(plain.vocab_size, chat.vocab_size)
    ]
    assert chat.vocab_size == plain.vocab_size + 5
    assert plain.special_ids.items() <= chat.special_ids.items()
    for text in TRICKY:
        assert chat.encode(text).tolist() == plain.encode(text).tolist()
    assert chat.prompt("") == [chat.special_ids["<|bos|>"]]
    assert chat.end_ids == [chat.special_ids["<|end|>"]]


def test_added_tokens_that_are_not_special_are_text():
    tokenizer = BPETokenizer(LIKE["qwen3"]().to_str())
    assert list(tokenizer.special_ids) == ["<|endoftext|>"]
    assert len(tokenizer.encode("<think>")) == 1


def test_chat_tokens_that_are_there_keep_their_ids():
    library = gpt2_like()
    library.add_tokens(["<|user|>"])
    plain = BPETokenizer(library.to_str())
    chat = plain.with_chat_tokens()
    assert chat.special_ids["<|user|>"] == library.token_to_id("<|user|>") == plain.vocab_size - 1
    assert chat.vocab_size == plain.vocab_size + 4
    assert chat.special_ids["<|user|>"] not in chat.encode("<|user|>").tolist()


# Its own training


def test_a_text_without_spaces_is_learned_from_in_reasonable_time():
    """Merging takes time in the square of a word's length: 300,000 letters would take minutes, and not a second."""
    dna = "".join(random.Random(1).choices("ACGT", k=300_000))
    tokenizer = BPETokenizer.train([dna], 300)
    assert tokenizer.decode(tokenizer.encode(dna[:1000])) == dna[:1000]
    assert tokenizer.vocab_size == 300


def test_training_makes_as_many_tokens_as_asked_the_same_each_time():
    assert TRAINED.vocab_size == 300
    assert list(TRAINED.special_ids.values()) == [295, 296, 297, 298, 299]
    assert BPETokenizer.train(LINES, 300) == TRAINED != BPETokenizer.train(LINES, 290)
    assert len(TRAINED.encode(LINES[0])) < len(LINES[0])
    assert BPETokenizer.train(["ab"], 300).vocab_size == 256 + 1 + 5, "there is one pair to merge"
    with pytest.raises(UserError, match="vocab_size is 260: bytes and special tokens alone need 261"):
        BPETokenizer.train(LINES, 260)


# What begins and ends a text


@pytest.mark.parametrize(
    ("files", "prompt", "ends"),
    [
        ({"tokenizer_config.json": {"eos_token": {"content": "<|endoftext|>"}}}, [0], [0]),
        ({"config.json": {"bos_token_id": 0, "eos_token_id": [7, 0]}}, [0], [0]),
        ({"config.json": {"bos_token_id": 0, "eos_token_id": 50256}}, [0], []),
        ({"tokenizer_config.json": {"eos_token": "</s>"}, "config.json": {"eos_token_id": 0}}, [0], [0]),
        ({"config.json": {"bos_token_id": 1, "eos_token_id": 2}}, None, []),  # these are letters
        ({}, None, []),
    ],
)
def test_the_own_tokens_are_found_wherever_they_are_named(tmp_path, files, prompt, ends):
    gpt2_like().save(str(tmp_path / "tokenizer.json"))
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    tokenizer = BPETokenizer.load(tmp_path)
    assert tokenizer.end_ids == ends
    assert tokenizer.prompt("a") == tokenizer.encode("a").tolist()
    if prompt is None:
        with pytest.raises(UserError, match="no token to begin a text with: give a prompt"):
            tokenizer.prompt("")
    else:
        assert tokenizer.prompt("") == prompt


# Mistakes


def test_half_a_character_is_named_with_its_place_and_can_be_dropped():
    with pytest.raises(UserError, match=r"does not know '\\udcff' \(character 5, line 2\)"):
        TRAINED.encode("ab\nc\udcff\ud83d")
    assert TRAINED.drop_unknown("a\udcffb\ud83d\udcff") == ("ab", "\udcff\ud83d")


SENTENCE_PIECES = Library(models.BPE({"▁": 0, "a": 1}, []))
SENTENCE_PIECES.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Strip(" ", 1, 0)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"model": {"type": "BPE", "vo', "cannot be read"),
        ("{}", "is no tokenizer"),
        ('{"model": {"type": "BPE", "vocab": {}, "merges": [["a", "b"]]}}', "not byte-level"),
        (Library(models.WordLevel({"a": 0})).to_str(), "of kind WordLevel, not BPE"),
        (Library(models.BPE({"a": 0}, [])).to_str(), "not byte-level"),
        (SENTENCE_PIECES.to_str(), "a decoder of kind Replace"),
    ],
)
def test_a_bad_file_is_the_users_to_mend(tmp_path, content, message):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=rf"tokenizer\.json .*{message}"):
        BPETokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("vocab", "merges", "message"),
    [
        ("{", "", "cannot be read .* or merges.txt beside it is damaged"),
        ('{"a": 0}', "#version: 0.2\nq z\n", "cannot be read .* or merges.txt beside it is damaged"),
        ('{"a": 0}', "#version: 0.2\n", "is not GPT-2's"),
    ],
)
def test_a_bad_pair_is_the_users_to_mend(tmp_path, vocab, merges, message):
    (tmp_path / "vocab.json").write_text(vocab)
    (tmp_path / "merges.txt").write_text(merges)
    with pytest.raises(UserError, match=rf"vocab\.json .*{message}"):
        BPETokenizer.load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read \(No such file"):
        BPETokenizer.load(tmp_path)


# How texts are split

SPLITS = [Split(), Split(1), Split(2, 8), Split(3), Split(None, 4)]
NUMBERS = ["In 2024, 12345 cats and 2024 internationalizations!!!!!! x=1234567; 2024 2024"] * 9


@pytest.fixture(scope="module", params=SPLITS, ids=str)
def cut(request):
    return request.param, BPETokenizer.train(NUMBERS, 400, request.param)


@given(text=st.text())
def test_every_text_comes_back_however_it_is_split(cut, text):
    _, tokenizer = cut
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_there_is_a_token_for_every_byte(cut):
    _, tokenizer = cut
    vocab = json.loads(tokenizer.content)["model"]["vocab"]
    assert len([token for token in vocab if len(token) == 1]) == 256


def test_no_token_has_more_digits_or_letters_than_it_may(cut):
    split, tokenizer = cut
    tokens = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size - len(SPECIAL_TOKENS))]
    with_digits = [token for token in tokens if any(map(str.isdigit, token))]
    longest = max(len(token) for token in with_digits)
    if split.digits is None:
        assert " 2024" in tokens if split.longest_word is None else longest > 3
    else:
        assert longest <= split.digits
        assert all(token.isdigit() for token in with_digits), "the space stays apart"
    if split.longest_word is not None:
        assert (
            max(len(token.strip()) for token in tokens if not any(map(str.isdigit, token)))
            <= split.longest_word
        )


def test_a_split_is_saved_with_the_tokenizer(cut, tmp_path):
    _, tokenizer = cut
    again, theirs = BPETokenizer.load(saved(tokenizer, tmp_path)), AutoTokenizer.from_pretrained(tmp_path)
    assert again == tokenizer
    for text in (NUMBERS[0], " a  b 12 345\n"):
        assert theirs.encode(text, add_special_tokens=False) == tokenizer.encode(text).tolist()


def test_without_bounds_texts_are_split_as_in_gpt2():
    assert BPETokenizer.train(NUMBERS, 300, Split()) == BPETokenizer.train(NUMBERS, 300)


@pytest.mark.parametrize("bounds", [{"digits": 0}, {"digits": 4}, {"longest_word": 0}])
def test_bounds_that_make_no_sense_are_refused(bounds):
    with pytest.raises(UserError, match=next(iter(bounds))):
        Split(**bounds)
