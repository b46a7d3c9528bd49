"""From documents to a directory of shards."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from folio.data import shard_workers, tokenizing
from folio.data.shards import open_shards
from folio.data.split import share
from folio.data.streams import find_source
from folio.data.tokenizing import read_plan, survey, tokenize
from folio.errors import UserError
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.choice import TokenizerChoice

BPE = TokenizerChoice("bpe", 300)
CHAR = TokenizerChoice("char", reserves=False)
ROWS = [f"document number {i}, {'very ' * (i % 7)}short\n" for i in range(200)]


def jsonl(path, rows):
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def rows(tmp_path):
    return jsonl(tmp_path / "rows.jsonl", ROWS)


def content(directory):
    """The files of a directory that anybody reads, by name."""
    names = {path.name for path in directory.iterdir() if path.name not in (".lock", "plan.json")}
    return {name: (directory / name).read_bytes() for name in names}


def texts(shards, part):
    ids = shards.train[np.arange(len(shards.train))] if part == "train" else shards.validation(10**9)
    return sorted(shards.tokenizer.decode(ids.tolist()).split("<|bos|>")[1:])


def test_the_bytes_are_the_same_with_any_number_of_processes(tmp_path, rows):
    one, two = tmp_path / "one", tmp_path / "two"
    tokenize(find_source(str(rows)), one, BPE, processes=1, shard=1000)
    tokenize(find_source(str(rows)), two, BPE, processes=2, shard=1000)
    assert content(one) == content(two)
    assert len(open_shards(one).train_shards) > 5
    assert not (one / "shards.jsonl").exists()


def test_validation_documents_are_those_that_small_texts_hold_out(tmp_path, rows):
    shards = tokenize(find_source(str(rows)), tmp_path / "out", CHAR, processes=1)
    train, validation = share(ROWS, str)
    assert texts(shards, "train") == sorted(train)
    assert texts(shards, "validation") == sorted(validation)


def test_of_much_text_a_smaller_share_is_held_out(tmp_path, rows, monkeypatch):
    monkeypatch.setattr(tokenizing, "MUCH", 1000)
    shards = tokenize(find_source(str(rows)), tmp_path / "out", CHAR, processes=1)
    assert set(texts(shards, "validation")) < set(share(ROWS, str)[1])
    assert sorted(texts(shards, "train") + texts(shards, "validation")) == sorted(ROWS)


@pytest.mark.parametrize("shard", [50, 10**6])
def test_of_few_documents_the_last_tenth_is_held_out(tmp_path, shard):
    text = "".join(ROWS)
    (tmp_path / "a.txt").write_text(text)
    shards = tokenize(find_source(str(tmp_path / "a.txt")), tmp_path / "out", CHAR, processes=1, shard=shard)
    at = int(0.9 * len(text))
    assert texts(shards, "train") == [text[:at]]
    assert texts(shards, "validation") == [text[at:]]


def test_files_named_for_validation_are(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    jsonl(folder / "train.jsonl", ROWS[:150])
    jsonl(folder / "val.jsonl", ROWS[150:])
    shards = tokenize(find_source(str(folder)), tmp_path / "out", CHAR, processes=1)
    assert texts(shards, "train") == sorted(ROWS[:150])
    assert texts(shards, "validation") == sorted(ROWS[150:])


def test_what_is_done_is_not_done_again(tmp_path, rows, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    tokenize(find_source(str(rows)), whole, BPE, processes=1, shard=1000)
    made = []
    write = shard_workers.write_shard

    def interrupted(directory, name, texts):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(name)
        return write(directory, name, texts)

    monkeypatch.setattr(shard_workers, "write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tokenize(find_source(str(rows)), cut, BPE, processes=1, shard=1000)
    with pytest.raises(UserError, match=r"no index\.json"):
        open_shards(cut)
    first, made[:] = list(made), []
    monkeypatch.setattr(shard_workers, "write_shard", lambda *a: made.append(a[1]) or write(*a))
    tokenize(find_source(str(rows)), cut, BPE, processes=1, shard=1000)
    assert not set(first) & set(made)
    assert content(cut) == content(whole)
    made[:] = []
    tokenize(find_source(str(rows)), cut, BPE, processes=1, shard=1000)
    assert made == []


def test_killed_at_any_moment_it_goes_on(tmp_path, rows):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    tokenize(find_source(str(rows)), whole, BPE, processes=1, shard=1000)
    code = f"""
import time
from pathlib import Path
from folio.data import shards, shard_workers
from folio.data.streams import find_source
from folio.data.tokenizing import tokenize
from folio.tokenizer.choice import TokenizerChoice
write = shard_workers.write_shard
def slow(*arguments):
    time.sleep(0.1)
    return write(*arguments)
shard_workers.write_shard = slow
tokenize(find_source({str(rows)!r}), Path({str(killed)!r}), TokenizerChoice("bpe", 300), processes=1, shard=1000)
"""
    process = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
    while process.poll() is None and not (killed / "shards.jsonl").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    tokenize(find_source(str(rows)), killed, BPE, processes=1, shard=1000)
    assert content(killed) == content(whole)


def test_another_text_or_tokenizer_is_refused(tmp_path, rows):
    out = tmp_path / "out"
    tokenize(find_source(str(rows)), out, CHAR, processes=1)
    before = content(out)
    other = jsonl(tmp_path / "other.jsonl", ROWS[::-1])
    for source, choice in ((other, CHAR), (rows, BPE)):
        with pytest.raises(UserError, match="holds shards of another text"):
            tokenize(find_source(str(source)), out, choice, processes=1)
    assert content(out) == before


def test_a_directory_with_something_else_is_left_alone(tmp_path, rows):
    with pytest.raises(UserError, match="is not empty"):
        tokenize(find_source(str(rows)), tmp_path, CHAR, processes=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        tokenize(find_source(str(rows)), tmp_path / "file" / "out", CHAR, processes=1)


@pytest.mark.parametrize("damaged", ["{", "[]", "{}"])
def test_a_damaged_plan_is_told(tmp_path, rows, damaged):
    tokenize(find_source(str(rows)), tmp_path / "out", CHAR, processes=1)
    (tmp_path / "out" / "plan.json").write_text(damaged)
    with pytest.raises(UserError, match=r"plan\.json"):
        read_plan(tmp_path / "out")


def test_a_text_without_text_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(UserError, match="is empty"):
        tokenize(find_source(str(tmp_path / "a.txt")), tmp_path / "out", CHAR, processes=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] in ([], [".lock"])


def test_a_tokenizer_that_is_there_is_used(tmp_path, rows):
    BPETokenizer.train(ROWS, 280).save(tmp_path / "mine")
    shards = tokenize(
        find_source(str(rows)), tmp_path / "out", TokenizerChoice(str(tmp_path / "mine")), processes=1
    )
    assert shards.tokenizer == BPETokenizer.load(tmp_path / "mine")


def test_a_survey_counts_and_samples(tmp_path, rows):
    found = survey(find_source(str(rows)), characters=True, sample=1000)
    assert found.n_documents == 200
    assert found.n_characters == sum(map(len, ROWS))
    assert found.characters == set("".join(ROWS))
    assert 1000 <= sum(map(len, found.sample)) < 1000 + max(map(len, ROWS))
    train, _ = share(ROWS, str)
    assert set(found.sample) < set(train), "what is held out is not learned from"
    jsonl(Path(rows), ROWS[::-1])
    assert survey(find_source(str(rows)), sample=1000).sample == found.sample, "in any order"
