"""Which data become token shards, and where those are."""

import gzip

import pytest

from folio.data import large
from folio.data.large import cache, find_shards
from folio.data.streams import find_source
from folio.data.tokenizing import tokenize
from folio.errors import UserError
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.choice import TokenizerChoice

CHAR = TokenizerChoice("char")
TEXT = "the cat sat on a mat\n" * 50


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize("data", ["shakespeare", "arithmetic", "none.txt", "", "a.txt"])
def test_small_texts_known_ones_and_nothing_at_all_are_not_for_shards(text, data, cache_folder):
    assert find_shards(str(text.parent / data) if data == "a.txt" else data, None, CHAR) is None
    assert not cache_folder.exists()


def test_a_large_text_is_tokenized_once_until_it_changes(text, monkeypatch, cache_folder):
    monkeypatch.setattr(large, "LARGE", 100)
    first = find_shards(str(text), None, CHAR)
    assert first.directory.parent == cache_folder / "shards"
    monkeypatch.setattr("folio.data.shard_workers.write_shard", None)  # nothing is written again
    assert find_shards(str(text), None, CHAR).sha256 == first.sha256
    assert len(list((cache_folder / "shards").iterdir())) == 1
    monkeypatch.undo()
    monkeypatch.setattr("pooch.os_cache", lambda name: cache_folder)
    monkeypatch.setattr(large, "LARGE", 100)
    text.write_text(TEXT + "!")
    assert find_shards(str(text), None, CHAR).sha256 != first.sha256
    assert find_shards(str(text), None, TokenizerChoice("bpe", 300)).tokenizer.vocab_size <= 300
    assert len(list((cache_folder / "shards").iterdir())) == 3


def test_a_compressed_text_becomes_shards_whatever_its_size(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    shards = find_shards(str(tmp_path / "a.txt.gz"), None, CHAR)
    assert shards.train_bytes == int(0.9 * len(TEXT))


def test_a_directory_of_shards_is_opened(tmp_path, text):
    BPETokenizer.train([TEXT], 270).save(tmp_path / "mine")
    BPETokenizer.train(["another"], 270).save(tmp_path / "other")
    mine = TokenizerChoice(str(tmp_path / "mine"))
    made = tokenize(find_source(str(text)), tmp_path / "shards", mine, processes=1)
    for choice in (CHAR, mine):
        assert find_shards(str(tmp_path / "shards"), None, choice).sha256 == made.sha256
    with pytest.raises(UserError, match="another tokenizer"):
        find_shards(str(tmp_path / "shards"), None, TokenizerChoice(str(tmp_path / "other")))
    with pytest.raises(UserError, match="validation shards of its own"):
        find_shards(str(tmp_path / "shards"), str(text), CHAR)
    (tmp_path / "shards" / "index.json").unlink()
    with pytest.raises(UserError, match=r"no index\.json"):
        find_shards(str(tmp_path / "shards"), None, CHAR)


def test_each_identity_has_a_place_of_its_own():
    assert cache("a") == cache("a") != cache("b")
