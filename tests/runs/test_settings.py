"""The settings that a run was started with, also of runs that folio 0.1 wrote."""

import io
import json
import shutil

import pytest
from rl_runs import write_run
from tiny_rl import PAIRS, make_talk

from folio import cli


def make_old(run, **changes):
    """Rewrite run.json as folio 0.1 wrote it: no format, the text's own keys, settings of the run above all tables."""
    file = run / "run.json"
    info = json.loads(file.read_text())
    for key in ("format", "recipe", "sha256"):
        info.pop(key)
    info["text"], info["text_sha256"] = info.pop("data"), info.pop("data_sha256")
    config = info["config"]
    config |= config.pop("output")
    config.pop("validation_tokens", None)
    training = config.pop("training", {})
    config |= training | config.pop("samples", {})
    file.write_text(json.dumps(info | changes))


@pytest.fixture
def old_base(finished, tmp_path):
    run = tmp_path / "old"
    shutil.copytree(finished, run)
    make_old(run)
    return run


@pytest.fixture(scope="module")
def tuned(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    flags = ("--data", str(make_talk(folder / "talk.jsonl")), "--run", str(folder / "run"), *PAIRS)
    assert cli.main(["sft", str(finished), *flags, "--sample-tokens", "4"]) == 0
    return folder / "run"


@pytest.fixture
def old_assistant(tuned, tmp_path):
    run = tmp_path / "old-sft"
    shutil.copytree(tuned, run)
    make_old(run)
    return run


def test_a_finished_pretraining_run_of_folio_0_1_is_shown_and_writes(folio, old_base):
    before = (old_base / "run.json").read_bytes()
    shown = folio("pretrain", "--run", old_base)
    assert (shown.code, shown.err) == (0, "")
    assert f"{old_base} is already finished:" in shown.out
    assert "validation loss" in shown.out
    assert folio("sample", old_base, "--tokens", 4).code == 0
    assert (old_base / "run.json").read_bytes() == before


def test_a_finished_fine_tuning_run_of_folio_0_1_is_shown_and_answers(folio, old_assistant, monkeypatch):
    shown = folio("sft", "--run", old_assistant)
    assert (shown.code, shown.err) == (0, "")
    assert "is already finished:" in shown.out
    monkeypatch.setattr("sys.stdin", io.StringIO("the cat\n"))
    chat = folio("chat", old_assistant, "--tokens", 4)
    assert (chat.code, chat.err) == (0, "")


@pytest.mark.parametrize("stage", ["ppo", "grpo"])
def test_a_run_of_folio_0_1_is_diagnosed(folio, tmp_path, stage):
    run = write_run(tmp_path / "old", stage)
    info = json.loads((run / "run.json").read_text())
    info["text_sha256"] = info.pop("data_sha256")
    (run / "run.json").write_text(json.dumps(info))
    outcome = folio("rl-report", run)
    assert (outcome.code, outcome.err) == (0, "")
    assert "KL" in outcome.out


@pytest.mark.parametrize("flags", [(), ("--resume",)], ids=["again", "resume"])
@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_an_unfinished_run_of_folio_0_1_is_refused(folio, old_base, status, flags):
    file = old_base / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"status": status, "folio": "0.1.0"}))
    mistake = folio("pretrain", "--run", old_base, *flags).mistake
    assert "is an unfinished run of an older folio (0.1.0), which cannot be resumed" in mistake
    assert json.loads(file.read_text())["status"] == status


def test_a_run_of_another_stage_is_refused(folio, old_base):
    assert "was made by folio pretrain, not folio sft" in folio("sft", "--run", old_base).mistake
