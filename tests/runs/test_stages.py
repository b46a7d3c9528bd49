"""What is told of each stage's runs."""

import pytest

from folio.commands import COMMANDS
from folio.runs.directory import RunDirectory
from folio.runs.stages import STAGES, kept_record, next_commands


def test_every_stage_is_told_of():
    assert set(STAGES) == {
        name for name, (module, _) in COMMANDS.items() if module.startswith("folio.stages.")
    }


@pytest.mark.parametrize(
    ("records", "step"),
    [
        ([{"step": 1, "val_loss": 2.0}, {"step": 2, "val_loss": 1.0}, {"step": 3, "val_loss": 1.5}], 2),
        ([{"step": 1, "val_loss": 1.0}, {"step": 2, "val_loss": 1.0}, {"step": 3, "loss": 0.5}], 1),
        ([{"step": 1, "val_reward": 2.0}, {"step": 2, "val_reward": 1.0}, {"step": 3, "reward": 3.0}], 2),
    ],
    ids=["the lowest loss", "the first of equal ones", "without a loss the newest"],
)
def test_the_record_of_the_kept_model(records, step):
    assert kept_record(records, ["val_loss", "val_reward"])["step"] == step


def test_a_run_without_an_evaluation_has_no_kept_model():
    assert kept_record([{"step": 1, "loss": 1.0}], ["val_loss"]) is None
    assert kept_record([], ["val_loss"]) is None


def make_run(path, stage, **config):
    path.mkdir()
    run = RunDirectory(path)
    info = {
        "status": "finished",
        "stage": stage,
        "config": config,
        "runtime": {},
        "plan": {},
        "data_sha256": "",
    }
    run.write_info(info)
    return run


@pytest.mark.parametrize("stage", STAGES)
def test_next_commands_exist_and_name_the_run(tmp_path, stage):
    commands = next_commands(make_run(tmp_path / "run", stage, model="start"))
    assert str(tmp_path / "run") in commands[0]
    assert all(command.split()[1] in COMMANDS for command in commands)


def test_paths_are_quoted(tmp_path):
    run = make_run(tmp_path / "my run", "reward", model="runs/my sft")
    assert next_commands(run) == [f"folio ppo 'runs/my sft' --reward '{run.path}'"]


def test_after_a_run_of_another_kind_nothing_is_suggested(tmp_path):
    assert next_commands(make_run(tmp_path / "run", "ladder")) == []


@pytest.mark.parametrize(
    ("data", "recipe"), [("my.txt", "text"), ("shakespeare", "text"), ("arithmetic", "arithmetic")]
)
def test_after_pretraining_comes_fine_tuning_by_the_recipe_for_the_text(tmp_path, data, recipe):
    run = make_run(tmp_path / "run", "pretrain", data=data)
    assert next_commands(run)[0] == f"folio sft {recipe} {run.path}"
