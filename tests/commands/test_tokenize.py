"""`folio tokenize`, what folio.report.shards tells of it, and training on its shards."""

import json
import shutil

import pytest
from tiny import TINY, make_text

from folio.data import large
from folio.data.shards import open_shards
from folio.files import read_lines
from folio.runs.directory import RunDirectory
from folio.runs.load import load_for_inference


@pytest.fixture
def rows(tmp_path):
    lines = make_text(4000).splitlines()
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines if line))
    return path


@pytest.fixture
def shards(folio, rows, tmp_path):
    outcome = folio("tokenize", rows, "--out", tmp_path / "shards", "--vocab-size", "280", "--processes", "1")
    assert outcome.code == 0, outcome.err
    return tmp_path / "shards"


def without_times(record):
    return {name: value for name, value in record.items() if "seconds" not in name}


def test_it_tells_what_it_made_and_what_comes_next(folio, rows, shards):
    out = folio("tokenize", rows, "--out", shards, "--vocab-size", "280").out
    made = open_shards(shards)
    assert f"{len(made.train):,} tokens in 1 shard" in " ".join(out.split())
    assert made.sha256 in out
    assert f"folio pretrain --data {shards}" in out


def test_data_show_checks_and_shows_shards(folio, shards):
    outcome = folio("data", "show", shards, "--num", "2")
    assert outcome.code == 0, outcome.err
    assert "as in index.json" in outcome.out
    assert "Document 2\n" in outcome.out
    path = shards / "train-00000.npy"
    path.write_bytes(path.read_bytes()[:-2] + b"\0\0")
    assert "train-00000.npy has changed" in folio("data", "show", shards).mistake


def test_a_run_on_shards_killed_and_resumed_is_the_run_that_was_not(folio, shards, tmp_path):
    runs = {name: tmp_path / name for name in ("whole", "stopped")}
    arguments = ("pretrain", "--data", shards, *TINY, "--steps", "8")
    outcome = folio(*arguments, "--run", runs["whole"])
    assert outcome.code == 0, outcome.err
    shutil.copytree(runs["whole"], runs["stopped"])
    stopped = RunDirectory(runs["stopped"])
    stopped.write_info({**stopped.read_info(), "status": "interrupted"})
    last = max(stopped.checkpoints.iterdir(), key=lambda path: int(path.name.split("-")[1]))
    shutil.rmtree(last)
    assert folio(*arguments, "--run", runs["stopped"], "--resume").code == 0
    one, other = (
        [without_times(each) for each in read_lines(run / "metrics.jsonl")] for run in runs.values()
    )
    assert one == other
    _, tokenizer = load_for_inference(runs["whole"])
    assert tokenizer == open_shards(shards).tokenizer
    assert "val_bpb" in one[-1]


def test_a_run_refuses_other_shards(folio, shards, rows, tmp_path):
    arguments = ("pretrain", "--data", shards, "--run", tmp_path / "run", *TINY, "--steps", "2")
    assert folio(*arguments).code == 0
    for path in shards.iterdir():
        path.unlink()
    assert folio("tokenize", rows, "--out", shards, "--vocab-size", "270", "--processes", "1").code == 0
    assert "learned from other data" in folio(*arguments, "--resume").mistake


def test_a_large_text_is_tokenized_once_for_all_runs(folio, rows, tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    monkeypatch.setattr(large, "LARGE", 100)
    for name in ("a", "b"):
        outcome = folio("pretrain", "--data", rows, "--run", tmp_path / name, *TINY, "--steps", "2")
        assert outcome.code == 0, outcome.err
        monkeypatch.setattr("folio.data.shard_workers.write_shard", None)
        assert "token shards" in outcome.out or "token shard" in outcome.out
    assert len(list((tmp_path / "cache" / "shards").iterdir())) == 1
    infos = [RunDirectory(tmp_path / name).read_info() for name in ("a", "b")]
    assert infos[0]["data_sha256"] == infos[1]["data_sha256"]


def test_a_tokenizer_directory_serves_a_small_text_too(folio, rows, shards, tmp_path):
    arguments = ("--data", rows, "--run", tmp_path / "run", *TINY, "--steps", "2")
    assert folio("pretrain", *arguments, "--tokenizer", shards).code == 0
    assert load_for_inference(tmp_path / "run")[1] == open_shards(shards).tokenizer
    other = (*arguments, "--run", tmp_path / "other", "--tokenizer", "words")
    assert "must be char, bpe or a directory" in folio("pretrain", *other).mistake


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.txt", "--out", "OUT"], "no file or folder"),
        (["ROWS"], "name a directory for the shards"),
        (["ROWS", "--out", "OUT", "--tokenizer", "words"], "must be char, bpe or a directory"),
        (["ROWS", "--out", "OUT", "--vocab-size", "5"], "vocab_size is 5"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(folio, rows, tmp_path, arguments, message):
    names = {"ROWS": rows, "OUT": tmp_path / "out"}
    assert message in folio("tokenize", *(names.get(each, each) for each in arguments)).mistake
    assert not list((tmp_path / "out").glob("[!.]*"))
