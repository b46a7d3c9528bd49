"""reward, dpo, ppo and grpo resume exactly, too: in the middle of a rollout, and where a reward function fails."""

import json
import shutil
import signal

import pytest
import torch
from killing import at, in_a_process, interrupt, nth, run_until, without_times, wrap
from tiny import TINY, make_text
from tiny_rl import PAIRS, POLICY, QUICK, RATES, make_function, make_pairs, make_prompts, make_talk

from folio.checkpoint import load_state, saved_steps
from folio.files import read_lines
from folio.rl import rollouts
from folio.runs.directory import RunDirectory
from folio.runs.load import load, save
from folio.runs.recorder import Recorder
from folio.runs.state import STATE_FILE

MOMENTS = {
    "never": lambda: None,
    # ppo and grpo save after every other step: 6 is between the two passes over the second rollout, of steps 5 to 8.
    "killed after step 7": lambda: wrap(Recorder, "record", at(7), after=True),
    "Ctrl-C in step 5": lambda: wrap(Recorder, "show", at(5), do=interrupt),
    "killed while answering": lambda: wrap(rollouts, "sample_completions", nth(2)),
    "Ctrl-C while answering": lambda: wrap(rollouts, "sample_completions", nth(2), do=interrupt),
    "killed before the last save's evaluation": lambda: wrap(Recorder, "evaluate", lambda watch, report: report.step == watch.training.task.steps),
    "killed before it is finished": lambda: wrap(RunDirectory, "set_status", lambda run, status: status == "finished"),
}  # fmt: skip
STAGES = ("reward", "dpo", "ppo", "grpo")
FLAGS = {
    "reward": (*PAIRS, *RATES),
    "dpo": (*PAIRS, *RATES, "--prompt", "cat"),
    "ppo": (*POLICY, *RATES, "--epochs", "2"),
    "grpo": (*POLICY, *RATES, "--group-size", "4", "--epochs", "2", "--kl-coef", "0.1"),
}


def child(moment, arguments, output):
    run_until(MOMENTS[moment], arguments, output)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("resume")
    make_pairs(path / "pairs.jsonl", n=20)
    make_prompts(path / "prompts.jsonl")
    make_function(path / "share.py")
    return path


@pytest.fixture(scope="module")
def start(finished, folder):
    """Runs a stage in a process of its own; gives exit code and output."""

    def start(stage, moment, run, *flags):
        run.parent.mkdir(exist_ok=True)
        rewarded = stage in ("ppo", "grpo")
        data = ("--data", folder / ("prompts.jsonl" if rewarded else "pairs.jsonl"))
        reward = ("--reward", f"{folder / 'share.py'}:f") if rewarded and "--reward" not in flags else ()
        arguments = [stage, finished, "--run", run, *data, *FLAGS[stage], *reward, *flags]
        return in_a_process(child, moment, [str(each) for each in arguments], run.parent)

    return start


def trace(run):
    """All that a run leaves behind, but for times."""
    newest = saved_steps(run / "checkpoints")[0]
    return {
        "metrics": [without_times(record) for record in read_lines(run / "metrics.jsonl")],
        "samples": (run / "samples.jsonl").read_bytes(),
        "best": (run / "best" / "model.safetensors").read_bytes(),
        "settings": json.loads((run / "best" / "config.json").read_text()),
        "last": (newest / "model.safetensors").read_bytes(),
        "state": without_times(load_state(newest / STATE_FILE)),
        "step": newest.name,
        "info": [RunDirectory(run).read_info()[key] for key in ("status", "before")],
    }


@pytest.fixture(scope="module")
def uninterrupted(start, folder):
    """The trace of each stage's run, made when it is first asked for."""
    known = {}

    def uninterrupted(stage, *flags):
        if (stage, flags) not in known:
            run = folder / f"whole-{stage}-{len(flags)}" / "run"
            code, output = start(stage, "never", run, *flags)
            assert code == 0, output
            known[stage, flags] = trace(run)
        return known[stage, flags]

    return uninterrupted


CASES = [
    *((stage, ("killed after step 7",)) for stage in ("ppo", "grpo")),
    *((stage, ("Ctrl-C in step 5", "killed while answering")) for stage in ("ppo", "grpo")),
    ("ppo", ("Ctrl-C while answering", "killed before it is finished")),
    ("reward", ("Ctrl-C in step 5",)),
    ("reward", ("killed before the last save's evaluation", "killed before it is finished")),
    ("dpo", ("Ctrl-C in step 5", "killed before the last save's evaluation")),
]


@pytest.mark.parametrize(("stage", "moments"), CASES)
def test_what_was_ended_goes_on_as_if_nothing_had_happened(
    start, uninterrupted, folder, tmp_path, stage, moments
):
    run = tmp_path / "run"
    for number, moment in enumerate(moments):
        code, output = start(stage, moment, run, *["--resume"] * (number > 0))
        assert code == (130 if moment.startswith("Ctrl-C") else -signal.SIGKILL), output
        assert "Traceback" not in output
    code, output = start(stage, "never", run, "--resume")
    assert code == 0, output
    assert trace(run) == uninterrupted(stage)


def test_a_rollout_is_saved_while_it_is_learned_from(start, uninterrupted, tmp_path):
    """Or the second pass would be over answers that nobody gave."""
    run = tmp_path / "run"
    assert start("ppo", "killed after step 7", run)[0] == -signal.SIGKILL
    state = load_state(saved_steps(run / "checkpoints")[0] / STATE_FILE)
    assert (state["report"]["step"], state["source"]["iteration"], state["source"]["step"]) == (6, 2, 2)
    assert len(state["source"]["batch"]["ids"]) == 8
    assert state["critic"]


# 8 answers of each rollout are judged, and 2 in each evaluation: before the first step, and after a save.
FAILURES = {
    "in the third rollout, after a save": ("ppo", (), 2 + 8 + 2 + 2 + 8 + 2 + 2 + 3, 8),
    "in the second rollout, between two saves": ("grpo", ("--minibatch-size", "3", "--epochs", "1"), 2 + 8 + 2 + 3, 3),
    "in an evaluation": ("ppo", (), 2 + 8 + 2 + 1, 4),
}  # fmt: skip


@pytest.mark.parametrize(("stage", "sizes", "n_calls", "n_made"), FAILURES.values(), ids=FAILURES)
def test_a_reward_function_that_fails_can_be_mended(
    start, uninterrupted, tmp_path, stage, sizes, n_calls, n_made
):
    function, run = tmp_path / "failing.py", tmp_path / "run"
    flags = ("--reward", f"{function}:f", *sizes)
    good = "return completion.count('a') / max(1, len(completion))"
    make_function(function, f"calls.append(1); assert len(calls) < {n_calls}, 'no more'; {good}")
    function.write_text("calls = []\n" + function.read_text())
    code, output = start(stage, "never", run, *flags)
    assert code == 2, output
    last = output.strip().splitlines()[-1]
    assert last.startswith(f"folio: {function}:f raised AssertionError (no more), for the prompt ")
    assert last.endswith("Fix it and resume with --resume: all that was learned is saved.")
    assert RunDirectory(run).read_info()["status"] == "interrupted"
    saved = [int(path.name[5:]) for path in saved_steps(run / "checkpoints")]
    assert saved == [n_made, n_made - n_made % 2 - 2 * (n_made % 2 == 0)], (
        "no step is lost, and none saved as another"
    )
    make_function(function, good)
    code, output = start(stage, "never", run, *flags, "--resume")
    assert code == 0, output
    assert trace(run) == uninterrupted(stage, *sizes)


def test_a_reward_function_that_never_works_leaves_no_run(start, folder, tmp_path):
    function = make_function(tmp_path / "failing.py", "return None")
    code, output = start("ppo", "never", tmp_path / "run", "--reward", f"{function}:f")
    assert code == 2, output
    assert "Traceback" not in output
    assert [line.startswith("folio: ") for line in output.strip().splitlines()].count(True) == 1
    assert not (tmp_path / "run").exists()


def learned_from(folder, stage):
    """Flags of a run of a stage, its data, and a model directory that it starts from."""
    rewarded = ("--reward", f"{make_function(folder / 'share.py')}:f", "--rollouts", "1")
    make = {
        "sft": make_talk,
        "reward": make_pairs,
        "dpo": make_pairs,
        "ppo": make_prompts,
        "grpo": make_prompts,
    }
    flags = {
        "sft": (*QUICK, "--sample-tokens", "4"),
        "ppo": (*POLICY, *rewarded),
        "grpo": (*POLICY, "--group-size", "4", *rewarded),
    }
    return make[stage](folder / "data.jsonl"), (*flags.get(stage, PAIRS), "--run", folder / "run")


@pytest.mark.parametrize("stage", ["sft", *STAGES])
def test_a_finished_run_is_refused_other_data_and_another_model(folio, finished, tmp_path, stage):
    base = tmp_path / "base"
    shutil.copytree(finished / "best", base)
    data, flags = learned_from(tmp_path, stage)
    assert folio(stage, base, "--data", data, *flags).code == 0
    assert "is already finished" in folio(stage, base, "--data", data, *flags).out
    rows = data.read_text()
    data.write_text(rows + rows.splitlines()[0] + "\n")
    assert (
        "learned from other data, or from another model" in folio(stage, base, "--data", data, *flags).mistake
    )
    data.write_text(rows)
    model, tokenizer = load(base)
    with torch.no_grad():
        model.norm.weight *= 1.01
    save(model, tokenizer, base)
    assert (
        "learned from other data, or from another model" in folio(stage, base, "--data", data, *flags).mistake
    )


def test_a_finished_pretraining_run_is_refused_another_text(folio, tmp_path):
    text = tmp_path / "words.txt"
    text.write_text(make_text(), encoding="utf-8")
    command = ("pretrain", "--data", text, "--run", tmp_path / "run", *TINY, "--steps", "2")
    assert folio(*command).code == 0
    text.write_text(make_text() + "!", encoding="utf-8")
    assert "learned from other data" in folio(*command).mistake
