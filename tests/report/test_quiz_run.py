"""The runs that the quiz asks about: which one is found, and what is said where none is."""

import shutil

import pytest

from folio.errors import UserError
from folio.report.quiz_answers import answer_for
from folio.report.quiz_run import find_stage, read_finished_run
from folio.runs.directory import RunDirectory


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy run")
    return RunDirectory(tmp_path / "copy run")


def test_the_runs_of_all_stages_are_found_from_any_of_them(chain):
    for given in (chain, *(chain.with_name(f"run-{name}") for name in ("sft", "label", "ppo"))):
        found = {
            stage: find_stage(given, stage).path.name for stage in ("pretrain", "sft", "label", "policy")
        }
        assert found == {"pretrain": "run", "sft": "run-sft", "label": "run-label", "policy": "run-ppo"}


def test_a_run_of_grpo_comes_before_one_of_ppo(chain, tmp_path):
    for name in ("run-ppo", "run-grpo"):
        shutil.copytree(chain.with_name("run-ppo"), tmp_path / name)
    made = RunDirectory(tmp_path / "run-grpo")
    made.write_info(made.read_info() | {"stage": "grpo"})
    assert find_stage(tmp_path / "run", "policy").path.name == "run-grpo"
    assert find_stage(tmp_path / "run-ppo", "policy").path.name == "run-ppo"


@pytest.mark.parametrize("stage", ["pretrain", "sft", "label", "policy"])
def test_where_there_is_no_run_it_is_said_what_makes_one(tmp_path, stage):
    with pytest.raises(
        UserError, match=r"my(-\w+)?: no such run\. `folio (pretrain|run) shakespeare` makes one"
    ):
        find_stage(tmp_path / "my", stage)


def test_a_run_that_cannot_be_used_is_named(copy, tmp_path):
    with pytest.raises(UserError, match="no such run"):
        read_finished_run(tmp_path / "nowhere")
    info = copy.read_info()
    copy.write_info(info | {"status": "interrupted"})
    with pytest.raises(UserError, match=r"is not finished: `folio pretrain --run '.*copy run' --resume`"):
        read_finished_run(copy.path)
    copy.write_info(info | {"stage": "reward"})
    with pytest.raises(
        UserError, match="is a run of folio reward: the quiz asks about runs of pretrain, sft, label"
    ):
        read_finished_run(copy.path)
    copy.write_info(info | {"plan": {}})
    with pytest.raises(UserError, match="is damaged"):
        read_finished_run(copy.path)


def test_what_a_run_lacks_is_named(copy):
    info = copy.read_info()
    copy.write_info(info | {"plan": info["plan"] | {"model": {"n_embd": True}}})
    with pytest.raises(UserError, match=r"run\.json has no n_embd|run\.json has no block_size"):
        answer_for(read_finished_run(copy.path), "position_table")
    copy.metrics_file.write_text('{"step": 1, "tokens": 4, "train_seconds": 1, "loss": 3}\n')
    with pytest.raises(UserError, match="has no validation loss"):
        answer_for(read_finished_run(copy.path), "best_step")


def test_damaged_weights_are_named(copy):
    (copy.best / "model.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        read_finished_run(copy.path)
    (copy.best / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        read_finished_run(copy.path)
