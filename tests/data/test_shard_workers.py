"""Shards by several processes."""

import errno
import subprocess
import sys

import pytest

from folio.data.shard_workers import Chunk, written
from folio.errors import UserError
from folio.files import sha256
from folio.tokenizer.char import CharTokenizer

CHUNKS = [Chunk(f"train-{n:05d}", [(f"text {n} " * 50, f"row {n}")]) for n in range(5)]


@pytest.fixture
def directory(tmp_path):
    CharTokenizer.train("text 0123456789").save(tmp_path)
    return tmp_path


def test_the_shards_are_the_same_with_any_number_of_processes(directory):
    one = {shard.name: shard for shard in written(directory, CHUNKS, 1)}
    two = {shard.name: shard for shard in written(directory, CHUNKS, 2)}
    assert one == two
    assert one.keys() == {chunk.name for chunk in CHUNKS}
    assert all(sha256(directory / f"{name}.npy") == shard.sha256 for name, shard in two.items())


def test_a_mistake_in_another_process_is_one_line(directory):
    bad = [*CHUNKS, Chunk("train-00009", [("?", "row 9")])]
    with pytest.raises(UserError, match=r"^row 9: The tokenizer does not know '\?'"):
        list(written(directory, bad, 2))


def test_a_full_disk_is_told_and_leaves_no_half_shard(directory, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numpy.save", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)\. Make room"):
        list(written(directory, CHUNKS, 1))
    assert not list(directory.glob("*train*"))


def test_a_process_starts_without_pytorch():
    code = "import sys; import folio.data.shard_workers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
