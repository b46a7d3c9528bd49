"""`folio runs`: what is listed, and that it can be read anywhere."""

import json
import subprocess
import sys

import pytest

from folio.runs.directory import RunDirectory

INFO = {"status": "finished", "stage": "pretrain", "config": {}, "plan": {"steps": 20}, "runtime": {},
        "text_sha256": ""}  # fmt: skip
RECORDS = [
    {"step": step, "tokens": 64 * step, "train_seconds": 0.5 * step, "loss": 3.0}
    | {10: {"val_loss": 2.5, "val_bpb": 3.6}, 20: {"val_loss": 2.75, "val_bpb": 4.0}}.get(step, {})
    for step in range(1, 21)
]


@pytest.fixture(autouse=True)
def wide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def make(tmp_path):
    def make(name, records=RECORDS, **info):
        run = RunDirectory(tmp_path / "runs" / name)
        run.path.mkdir(parents=True)
        run.write_info(INFO | info)
        run.metrics_file.write_text("".join(json.dumps(record) + "\n" for record in records))
        return run

    return make


def rows(outcome):
    """The cells of each run, by name."""
    assert (outcome.code, outcome.err) == (0, "")
    lines = [line.rstrip() for line in outcome.out.splitlines()]
    return {line.split()[0].replace("\\", "/"): line for line in lines[1:]}


def test_a_finished_run_has_its_kept_metrics_and_a_next_step(folio, make):
    make("words")
    make("words-rl", [RECORDS[0] | {"val_reward": 0.5, "val_kl": 1.0}], stage="ppo")
    found = rows(folio("runs"))
    for words in ("pretrain", "finished", "val_loss 2.500, val_bpb 3.600", "MB", "folio sft text runs/words"):
        assert words in found["runs/words"]
    assert "val_reward 0.500, val_kl 1.000" in found["runs/words-rl"]
    assert found["runs/words-rl"].endswith("folio chat runs/words-rl")


def test_an_unfinished_run_is_gone_on_with(folio, make):
    make("stopped", RECORDS[:5], status="interrupted")
    make("killed", RECORDS[:10], status="running")
    make("mine of old", [], status="interrupted", plan={})
    found = rows(folio("runs"))
    assert "interrupted 5/20" in found["runs/stopped"]
    assert found["runs/stopped"].endswith("folio pretrain --run runs/stopped --resume")
    assert "killed 10/20" in found["runs/killed"]
    assert "'runs/mine of old' --resume" in folio("runs").out


def test_a_run_in_use_is_running_and_is_not_disturbed(folio, make):
    run = make("busy", RECORDS[:10], status="running")
    with run.owned():
        row = rows(folio("runs"))["runs/busy"]
        assert "running 10/20" in row
        assert "resume" not in row
    with run.owned():
        pass


def test_a_reward_model_leads_to_ppo(folio, make):
    make("r", [RECORDS[0] | {"val_accuracy": 0.75}], stage="reward", config={"model": "runs/sft"})
    row = rows(folio("runs"))["runs/r"]
    assert "val_accuracy 0.750" in row
    assert row.endswith("folio ppo runs/sft --reward runs/r")


def test_a_damaged_run_is_named(folio, make):
    make("whole")
    make("broken").info_file.write_text("{")
    assert "damaged" in rows(folio("runs"))["runs/broken"]


def test_runs_are_found_at_any_depth_but_not_in_runs(folio, make):
    make("deep/down/one")
    make("top")
    make("top/best/copy")
    assert set(rows(folio("runs"))) == {"runs/deep/down/one", "runs/top"}
    assert set(rows(folio("runs", "runs/top"))) == {"runs/top"}
    assert set(rows(folio("runs", "runs/deep"))) == {"runs/deep/down/one"}


def test_where_there_are_none(folio, tmp_path):
    assert "runs: no such folder. `folio run shakespeare`" in folio("runs").mistake
    (tmp_path / "runs").mkdir()
    assert "runs contains no runs" in folio("runs").mistake


def test_in_forty_columns_no_word_is_lost(folio, make, monkeypatch):
    make("a-run-with-a-rather-long-name")
    monkeypatch.setenv("COLUMNS", "40")
    out = folio("runs").out
    for word in ("runs/a-run-with-a-rather-long-name", "pretrain, finished", "folio sft text runs/a-run-with-a-rather-long-name\n"):  # fmt: skip
        assert word in out, out
    assert "…" not in out


def test_torch_is_not_imported(make, tmp_path):
    make("words")
    script = "import sys; from folio import cli; cli.main(['runs']); assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "words" in done.stdout
