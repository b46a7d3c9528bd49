"""What a run does between steps: it saves, evaluates, records, samples, and stops in time."""

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console
from tiny_training import make_report, make_training

from folio.checkpoint import saved_steps
from folio.files import damage, read_lines
from folio.log import Progress
from folio.runs.budget import Budget
from folio.runs.directory import RunDirectory, run_around
from folio.runs.load import load_for_inference
from folio.runs.recorder import KEPT_CHECKPOINTS, Recorder
from folio.runs.samples import Continuation
from folio.runs.state import STATE_FILE
from folio.training.early_stopping import PATIENCE, OverfittingError


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def make(tmp_path, console):
    """Makes a recorder of a tiny training in `tmp_path`, whose held-out losses are these, one after another."""

    def make(losses=(), **training):
        left = iter(losses)
        if losses:
            training["evaluation"] = lambda model: {"val_loss": next(left), "val_bpb": 1.5}
        progress = Progress(console, 20)
        return Recorder(
            make_training(**training), RunDirectory(tmp_path), progress, Continuation("bad", max_new_tokens=5)
        )

    return make


def test_steps_are_fitted_to_the_time_that_is_left(make):
    """Ten seconds a step, and 100 of them: in half of that time there are half as many, less an end."""
    steps = {}
    for seconds in (math.inf, 500.0):
        recorder = make(steps=100, budget=Budget(seconds, most_steps=100))
        recorder.run.write_info(
            {"status": "running", "stage": "sft", "config": {}, "runtime": {}, "plan": {}, "data_sha256": ""}
        )
        recorder.training.train_seconds = 10.0
        recorder.plan_first(make_report(1))
        steps[seconds] = recorder.training.task.steps
        assert (
            recorder.training.plan.steps == recorder.progress.total == steps[seconds] or seconds == math.inf
        )
    assert steps[math.inf] == 100
    assert 45 <= steps[500.0] <= 50


def test_a_run_whose_time_is_over_makes_one_more_step_which_is_evaluated(make):
    """The first step of a run without a rehearsal is timed when it is too late to evaluate it as the last one."""
    recorder = make(steps=100, budget=Budget(12.0, most_steps=100))
    recorder.run.write_info(
        {"status": "running", "stage": "grpo", "config": {}, "runtime": {}, "plan": {}, "data_sha256": ""}
    )
    recorder.training.train_seconds = 10.0
    recorder.plan_first(make_report(1))
    assert recorder.training.task.steps == 2


def test_what_is_planned_is_restored_with_the_checkpoint(make):
    recorder = make(steps=100, budget=Budget(1e6, most_steps=100))
    recorder.training.set_steps(37)
    recorder.training.budget.spent_before = 1000.0
    recorder.save_last()
    recorder.training.save(recorder.run.checkpoints / "step-3", make_report(3))
    again = make(steps=100, budget=Budget(1e6, most_steps=100)).training
    again.load(recorder.run.checkpoints / "step-3")
    assert again.task.steps == again.plan.steps == 37
    assert again.budget.spent >= 1000.0


def steps_saved(recorder):
    return [path.name for path in saved_steps(recorder.run.checkpoints)]


def test_the_newest_checkpoints_are_kept(make):
    recorder = make()
    for step in (2, 4, 10):
        recorder.save(make_report(step))
    assert steps_saved(recorder) == ["step-10", "step-4"]
    assert len(steps_saved(recorder)) == KEPT_CHECKPOINTS


def test_the_models_of_older_ones_are_kept_without_what_only_resuming_needs(make):
    recorder = make()
    for step in (2, 4, 6, 8):
        recorder.training.model.norm.weight.data.fill_(step)
        recorder.save(make_report(step))
    models = recorder.run.models()
    assert list(models) == [2, 4, 6, 8]
    assert models[2] == recorder.run.history / "step-2"
    assert models[6] == recorder.run.checkpoints / "step-6"
    assert not (models[2] / STATE_FILE).exists()
    assert damage(models[2]) is None
    assert load_for_inference(models[4])[0].norm.weight[0] == 4
    assert run_around(models[2]) is None, "it is in no run: there is no run.json"


def test_damaged_or_large_ones_are_not_kept(make, monkeypatch):
    recorder = make()
    recorder.save(make_report(2))
    (recorder.run.checkpoints / "step-2" / "model.safetensors").write_bytes(b"")
    for step in (4, 6):
        recorder.save(make_report(step))
    assert not recorder.run.history.exists()
    monkeypatch.setattr("folio.runs.recorder.HISTORY_BYTES", 10.0)
    recorder.save(make_report(8))
    assert list(recorder.run.models()) == [6, 8]


def test_a_save_never_deletes_itself_for_damaged_newer_ones(make):
    """Two damaged checkpoints of later steps are not the two newest that a run keeps."""
    recorder = make()
    for step in (8, 10):
        (recorder.run.checkpoints / f"step-{step}").mkdir(parents=True)
    recorder.save(make_report(4))
    assert damage(recorder.run.checkpoints / "step-4") is None


def test_the_last_step_is_saved_unless_it_was(make):
    recorder = make()
    recorder.save_last()
    assert steps_saved(recorder) == []
    recorder.record(make_report(3))
    recorder.save_last()
    assert steps_saved(recorder) == ["step-3"]
    (recorder.run.checkpoints / "step-3").rename(recorder.run.checkpoints / "step-9")
    recorder.save_last()
    assert steps_saved(recorder) == ["step-9"]


def test_a_line_for_each_step_with_what_was_measured_at_it(make):
    recorder = make([2.5])
    recorder.training.tokens, recorder.training.train_seconds = 64, 0.12345
    recorder.record(make_report(1, loss=3.0, ratio=1.0))
    recorder.evaluate(make_report(2))
    recorder.record(make_report(2, loss=2.0))
    first, second = read_lines(recorder.run.metrics_file)
    assert first == {
        **{"step": 1, "tokens": 64, "train_seconds": 0.123, "loss": 3.0, "learning_rate": 0.01},
        **{"gradient_norm": 0.5, "ratio": 1.0},
    }
    measured = {"step": 2, "loss": 2.0, "val_loss": 2.5, "val_bpb": 1.5}
    assert second == {key: value for key, value in first.items() if key != "ratio"} | measured


def test_the_best_model_is_kept_a_rise_told_once_and_a_long_one_ends_the_run(make, console):
    recorder = make([3.0, 2.0, *(2.5 + 0.1 * i for i in range(PATIENCE))])
    weight = recorder.training.model.norm.weight
    for step in range(1, PATIENCE + 2):
        weight.data.fill_(step)
        recorder.evaluate(make_report(step))
        recorder.check_overfitting(make_report(step))
    recorder.evaluate(make_report(PATIENCE + 2))
    with pytest.raises(OverfittingError, match="since step 2"):
        recorder.check_overfitting(make_report(PATIENCE + 2))
    best, _ = load_for_inference(recorder.run.path)
    assert (best.norm.weight == 2).all()
    told = console.file.getvalue()
    assert told.count("Validation loss is rising: it was lowest at step 2") == 1


def test_without_a_held_out_loss_the_newest_model_is_the_best(make):
    recorder = make(evaluation=lambda model: {"val_reward": 1.0})
    for step in (1, 2):
        recorder.training.model.norm.weight.data.fill_(step)
        recorder.evaluate(make_report(step))
        recorder.check_overfitting(make_report(step))
    assert (load_for_inference(recorder.run.path)[0].norm.weight == 2).all()


def test_samples_are_shown_and_kept(make, console):
    recorder = make([2.5])
    recorder.evaluate(make_report(4))
    recorder.sample(make_report(4))
    (sample,) = read_lines(recorder.run.samples_file)
    assert (sample["step"], sample["prompt"]) == (4, "bad")
    assert sample["text"].startswith("bad")
    told = console.file.getvalue()
    assert "step 4, val_loss 2.500" in told
    assert sample["text"].strip() in told


def test_the_speed_shown_is_that_of_the_last_steps(make, console):
    recorder = make([2.5])
    recorder.evaluate(make_report(1))
    recorder.show(make_report(1))
    assert console.file.getvalue().split("  ") == [
        *("step 1/20", "loss 1.000", "val_loss 2.500", "characters/s 128", "left 0:05\n")
    ]
    for step in range(2, 20):
        recorder.show(replace(make_report(step), seconds=1000.0))
    for step in range(1, 21):
        recorder.show(replace(make_report(step), seconds=0.5))
    assert "characters/s 64  left 0:00" in console.file.getvalue()
