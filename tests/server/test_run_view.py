"""What the page is told of a run."""

import json
import math
import os
import time

import pytest
from rl_runs import write_run

from folio.errors import UserError
from folio.report.rl_figure import PANELS
from folio.runs.directory import RunDirectory
from folio.server import run_view
from folio.server.following import Metrics


def told(run):
    return run_view.detail(run, Metrics(run.metrics_file))


@pytest.fixture
def run(tmp_path):
    """A run that is at step 10 of 20, with an evaluation every fifth."""
    run = RunDirectory(tmp_path / "words")
    run.path.mkdir()
    info = {"status": "running", "stage": "pretrain", "config": {"data": "words.txt"}, "runtime": {},
            "data_sha256": "abc", "data": "words.txt", "hardware": "a laptop",
            "plan": {"steps": 20, "model": {"n_layer": 2, "n_embd": 16, "block_size": 8}}}  # fmt: skip
    run.write_info(info)
    lines = [
        {"step": step, "tokens": 64 * step, "train_seconds": 2.0 * step, "loss": 3.0 - 0.1 * step}
        | ({"val_loss": 2.5, "val_bpb": 3.6} if step % 5 == 0 else {})
        for step in range(1, 11)
    ]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.samples_file.write_text('{"step": 5, "prompt": "a", "text": "a cat"}\n{"step": 5}\n')
    return run


def test_a_run_that_trains_tells_how_long_it_will_take(run):
    with run.owned():
        found = told(run)
    assert (found["status"], found["step"], found["steps"]) == ("running", 10, 20)
    assert found["seconds_left"] == pytest.approx(20.0)
    assert found["kept"] == [["validation loss", "2.5"], ["bits per byte", "3.6"]]
    assert found["age"] < 5
    assert not found["is_slow"]
    assert found["command"] == ""
    assert found["model"] == "2 layers, width 16, context 8"


def test_a_slow_run_is_told_from_a_stopped_one(run):
    long_ago = time.time() - 60
    os.utime(run.metrics_file, (long_ago, long_ago))
    with run.owned():
        assert told(run)["is_slow"]
    found = told(run)
    assert (found["status"], found["is_slow"], found["seconds_left"]) == ("killed", False, None)
    assert found["command"].endswith("--resume")


def test_the_band_and_the_verdict_are_those_of_the_recipe(run, tmp_path):
    assert (told(run)["verdict"], told(run)["band"]) == (None, None)
    info = run.read_info()
    reference = {"hardware": "two cores", "text_sha256": "abc", "plan": info["plan"], "shares": [0.25, 0.5],
                 "losses": [[2.4, 2.6], [2.6, 2.7]], "landmarks": {"the lecture": 1.5}}  # fmt: skip
    (tmp_path / "pretrain.reference.json").write_text(json.dumps(reference))
    run.write_info({**info, "recipe": str(tmp_path / "pretrain.toml")})
    found = told(run)
    assert found["band"]["steps"] == [5, 10]
    assert found["band"]["low"] == [2.38, 2.58]
    assert found["band"]["landmarks"] == {"the lecture": 1.5}
    assert found["verdict"].startswith(
        "Your curve is better than the measured ones: 2.5000 at 50% of the run"
    )
    run.write_info({**info, "recipe": str(tmp_path / "pretrain.toml"), "data_sha256": "other"})
    assert told(run)["band"] is None
    assert told(run)["verdict"] == "none: the recipe's measured runs had another text"


def test_curves_and_samples_come_after_a_cursor(run):
    first = run_view.curves(run, "")
    assert first["columns"]["step"] == list(range(1, 11))
    assert first["columns"]["val_loss"][3:6] == [None, 2.5, None]
    assert first["is_first"]
    again = run_view.curves(run, first["cursor"])
    assert (again["columns"], again["is_first"]) == ({}, False)
    assert run_view.samples(run, "")["items"] == [{"step": 5, "prompt": "a", "text": "a cat"}]


@pytest.mark.parametrize(
    ("value", "sent"),
    [(1.23456789, 1.23457), (7, 7), (math.nan, None), (math.inf, None), (None, None), (True, None)],
)
def test_numbers_are_short_and_what_json_cannot_hold_is_none(value, sent):
    assert run_view.number(value) == sent


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("val_met", 0.8125, "81.2%"),
        ("val_accuracy", 1.0, "100.0%"),
        ("val_loss", 1.47321, "1.473"),
        ("val_kl", math.nan, "not known"),
    ],
)
def test_a_share_is_told_in_percent(name, value, words):
    assert run_view.in_words(name, value) == words


def test_a_damaged_run_says_so(run):
    run.info_file.write_text("{")
    found = run_view.summary(run, Metrics(run.metrics_file))
    assert found["status"] == "damaged"
    assert "run.json" in found["problem"]
    with pytest.raises(UserError, match=r"run\.json"):
        told(run)


def test_a_run_without_metrics_yet(run):
    run.metrics_file.unlink()
    found = told(run)
    assert (found["step"], found["seconds_left"], found["kept"]) == (0, None, [])


@pytest.mark.parametrize("stage", ["ppo", "grpo"])
def test_what_rl_report_says_and_draws(tmp_path, stage):
    found = run_view.rl(RunDirectory(write_run(tmp_path / "rl", stage)))
    assert found["words"].startswith("No problems found in the metrics. Reward from")
    assert found["table"]["gold reward"] == "held out 0.550 to 0.700"
    titles = [panel["title"] for panel in found["panels"]]
    assert titles[:2] == ["Reward", "KL to the reference"]
    assert set(titles) <= {panel.title for panel in PANELS}
    assert ("Critic" in titles) == (stage == "ppo")
    reward = found["panels"][0]["curves"]
    assert [curve["is_held_out"] for curve in reward] == [False, True, True]
    assert all(len(curve["x"]) == len(curve["y"]) for curve in reward)


def test_findings_are_told_with_their_advice(tmp_path):
    found = run_view.rl(RunDirectory(write_run(tmp_path / "rl", kl=lambda *_: -1.0)))
    assert found["findings"][0]["title"] == "The KL is negative"
    assert found["findings"][0]["advice"]
    assert found["words"] == ""


def test_what_is_no_run_of_rl_is_refused(run):
    with pytest.raises(UserError, match="rl-report reads runs of ppo and grpo"):
        run_view.rl(run)
