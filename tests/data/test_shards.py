"""Token shards on the disk."""

import json

import numpy as np
import pytest
import torch

from folio.data.corpora import load_corpus
from folio.data.shards import ShardedIds, id_type, is_shards, open_shards, write_index, write_shard
from folio.data.windows import RandomWindows
from folio.errors import UserError
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.char import CharTokenizer

TEXTS = [(f"document {i} " * (i % 4 + 1), f"file, row {i}") for i in range(30)]


@pytest.fixture
def directory(tmp_path):
    """Shards of characters: three for training, one for validation."""
    CharTokenizer.train("documents 0123456789").save(tmp_path)
    train = [write_shard(tmp_path, f"train-{n:05d}", TEXTS[8 * n : 8 * n + 8]) for n in range(3)]
    write_index(tmp_path, train, [write_shard(tmp_path, "validation-00000", TEXTS[24:])])
    return tmp_path


def test_all_documents_are_there_each_after_bos_and_nothing_else(directory):
    shards = open_shards(directory)
    bos = shards.tokenizer.special_ids["<|bos|>"]
    ids = shards.train[np.arange(len(shards.train))]
    assert ids[0] == bos
    found = shards.tokenizer.decode(ids.tolist()).split("<|bos|>")[1:]
    assert sorted(found) == sorted(text for text, _ in TEXTS[:24])
    assert found != [text for text, _ in TEXTS[:24]], "they are shuffled"
    assert list(shards.documents(24)) == found
    assert list(shards.documents(10)) == found[:10]
    assert shards.train_bytes == sum(len(text.encode()) for text, _ in TEXTS[:24])


def test_the_order_is_that_of_the_hashes_whatever_the_order_of_the_texts(tmp_path):
    CharTokenizer.train("documents 0123456789").save(tmp_path)
    assert (
        write_shard(tmp_path, "a", TEXTS).sha256
        == write_shard(tmp_path, "b", TEXTS[::-1]).sha256
        != write_shard(tmp_path, "c", TEXTS[1:]).sha256
    )


def test_windows_are_those_of_one_array(directory, monkeypatch):
    monkeypatch.setattr("folio.data.shards.OPEN_SHARDS", 1)
    shards = open_shards(directory)
    whole = shards.train[np.arange(len(shards.train))]
    sizes = {"block_size": 50, "batch_size": 7, "seed": 3}
    sharded, plain = RandomWindows(shards.train, **sizes), RandomWindows(whole, **sizes)
    for _ in range(20):
        one, other = next(sharded), next(plain)
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one.targets, other.targets)


def test_validation_ids_come_from_every_shard(tmp_path):
    CharTokenizer.train("documents 0123456789").save(tmp_path)
    parts = [write_shard(tmp_path, f"validation-{n}", TEXTS[10 * n : 10 * n + 10]) for n in range(3)]
    write_index(tmp_path, parts[:1], parts)
    shards = open_shards(tmp_path)
    whole = ShardedIds(tmp_path, parts, 100)
    first = np.cumsum([0, *(part.n_tokens for part in parts)])
    assert shards.validation(30).tolist() == [
        int(whole[np.array([first[n] + i])][0]) for n in range(3) for i in range(10)
    ]
    assert len(shards.validation(10**6)) == first[-1]


def test_shards_are_no_text_and_an_index_alone_makes_no_shards(directory, tmp_path):
    with pytest.raises(UserError, match="holds token shards, and this needs a text"):
        load_corpus(str(directory))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.json").write_text('[{"text": "abc"}]')
    assert not is_shards(tmp_path / "mine")
    assert load_corpus(str(tmp_path / "mine")).text == "abc"


def test_the_smallest_type_that_holds_all_ids():
    assert id_type(CharTokenizer.train("a")) is np.uint16
    large = BPETokenizer.train(["the cat"], 270)
    large.__dict__["vocab_size"] = 2**16 + 1
    assert id_type(large) is np.uint32


def test_an_unknown_character_is_told_with_its_place(tmp_path):
    CharTokenizer.train("abc").save(tmp_path)
    with pytest.raises(UserError, match=r"file, row 3: The tokenizer does not know 'd'"):
        write_shard(tmp_path, "train-00000", [("abc", "file, row 2"), ("abcd", "file, row 3")])
    assert not list(tmp_path.glob("train*"))


def change(directory, entry, value):
    index = json.loads((directory / "index.json").read_text())
    index["train"][1][entry] = value
    (directory / "index.json").write_text(json.dumps(index))


DAMAGE = {
    "cut": (
        lambda d: (d / "train-00001.npy").write_bytes((d / "train-00001.npy").read_bytes()[:-9]),
        "cut off",
    ),
    "empty": (lambda d: (d / "train-00001.npy").write_bytes(b""), "cut off"),
    "gone": (lambda d: (d / "train-00001.npy").unlink(), r"train-00001\.npy cannot be read"),
    "documents": (lambda d: (d / "train-00001.documents.npy").write_bytes(b"x"), "has changed"),
    "no index": (lambda d: (d / "index.json").unlink(), r"it has no index\.json"),
    "half an index": (
        lambda d: (d / "index.json").write_text('{"version": 1,'),
        r"index\.json cannot be read",
    ),
    "other index": (lambda d: (d / "index.json").write_text("{}"), r"index\.json cannot be read .*damaged"),
    "other version": (
        lambda d: (d / "index.json").write_text('{"version": 99}'),
        "another version of folio",
    ),
    "wrong entry": (lambda d: change(d, "n_tokens", "many"), "describes no shard"),
    "a path": (lambda d: change(d, "name", "../train-00001"), "describes no shard"),
    "tokenizer": (lambda d: CharTokenizer.train("documents 012345678").save(d), "has another tokenizer"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told(directory, name):
    damage, message = DAMAGE[name]
    damage(directory)
    with pytest.raises(UserError, match=message) as caught:
        open_shards(directory)
    assert "\n" not in str(caught.value)


def test_a_changed_id_is_found_by_its_checksum_or_when_it_is_read(directory, monkeypatch):
    path = directory / "train-00001.npy"
    path.write_bytes(path.read_bytes()[:-2] + b"\xff\xff")
    with pytest.raises(UserError, match=r"train-00001\.npy has changed"):
        open_shards(directory)
    monkeypatch.setattr("folio.data.shards.QUICKLY_CHECKED", 0)
    shards = open_shards(directory)
    with pytest.raises(UserError, match="is damaged"):
        shards.train[np.arange(len(shards.train))]
    with pytest.raises(UserError, match=r"train-00001\.npy has changed"):
        shards.check()
