"""Runs are found, and told apart."""

import json

import pytest

from folio.runs.directory import RunDirectory
from folio.runs.listing import disk_use, find_runs, kept_metrics, next_command, progress, status_of

INFO = {"status": "running", "stage": "pretrain", "config": {}, "plan": {"steps": 20}, "runtime": {},
        "data_sha256": ""}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path / "deep" / "one")
    run.path.mkdir(parents=True)
    run.write_info(INFO)
    return run


def test_runs_are_found_by_their_info_at_any_depth_but_not_in_runs(run, tmp_path):
    inside = run.path / "best"
    inside.mkdir()
    (inside / "run.json").write_text(json.dumps(INFO))
    (tmp_path / "empty").mkdir()
    assert [each.path for each in find_runs(tmp_path)] == [run.path]


def test_a_running_run_without_an_owner_was_killed(run):
    assert status_of(run, run.read_info()) == "killed"
    assert status_of(run, {**INFO, "status": "interrupted"}) == "interrupted"
    with run.owned():
        assert status_of(run, run.read_info()) == "running"


def test_the_disk_that_a_run_uses_and_when_it_changed(run):
    before, _ = disk_use(run.path)
    run.metrics_file.write_bytes(b"x" * 1000)
    after, changed = disk_use(run.path)
    assert after == before + 1000
    assert changed.timestamp() == pytest.approx(run.metrics_file.stat().st_mtime, abs=0.01)


def test_steps_and_metrics_of_what_is_kept():
    records = [{"step": 1, "loss": 3.0, "val_loss": 2.5, "val_bpb": 3.6}, {"step": 2, "loss": 2.9}]
    assert progress(INFO, records) == " 2/20"
    assert progress({"plan": {}}, records) == ""
    assert kept_metrics("pretrain", records) == {"val_loss": 2.5, "val_bpb": 3.6}
    assert kept_metrics("unknown", records) == {}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("running", ""),
        ("finished", "folio sft text"),
        ("killed", "folio pretrain --run"),
        ("failed", "--resume"),
    ],
)
def test_the_command_that_follows(run, status, words):
    assert words in next_command(run, status, "pretrain")
    assert bool(words) == bool(next_command(run, status, "pretrain"))
