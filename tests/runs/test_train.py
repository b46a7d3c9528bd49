"""Resume is exact: a run that was killed, wherever, and resumed is the run that never was, to the last bit."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import at, break_the_pipe, die, in_a_process, interrupt, nth, run_until, without_times, wrap
from tiny import STEPS, TINY, make_text

from folio import files
from folio.checkpoint import load_state, newest_valid
from folio.evaluation.loss import HeldOut
from folio.files import read_lines
from folio.runs import recorder
from folio.runs.directory import RunDirectory
from folio.runs.recorder import Recorder
from folio.runs.rehearsal import REHEARSAL_STEPS
from folio.runs.state import STATE_FILE
from folio.runtime import can_compile
from folio.stages import pretrain as stage
from folio.training.muon import Muon

FLAGS = (*TINY, "--dropout", "0.2", "--micro-batch-size", "1", "--prompt", "the ")


def half_a_line(step: int) -> None:
    append = recorder.append_line

    def half(path: Path, record: dict[str, Any]) -> None:
        if record["step"] != step:
            return append(path, record)
        with path.open("ab") as file:
            file.write((json.dumps(record, ensure_ascii=False)[:-7]).encode()[:-1])
        return die()

    recorder.append_line = half


MOMENTS: dict[str, Callable[[], None]] = {
    "never": lambda: None,
    # The second optimizer of a step, when the first has moved its weights; the rehearsal makes steps, too.
    "half a step": lambda: wrap(Muon, "step", nth(REHEARSAL_STEPS + 4), after=True),
    "before the run begins": lambda: wrap(RunDirectory, "write_info", nth(1)),
    "half of run.json": lambda: wrap(files.os, "fsync", nth(1)),
    "before the first save": lambda: wrap(Recorder, "record", at(1), after=True),
    "the first save, unsealed": lambda: wrap(files, "_seal", nth(1)),
    "a later save, unsealed": lambda: wrap(files, "_seal", lambda path: path.name == ".step-8.writing"),
    "a save, before its rename": lambda: wrap(Path, "rename", lambda path, _: path.name == ".step-6.writing"),
    "a save, after its rename": lambda: wrap(Recorder, "save", at(6), after=True),
    "evaluation": lambda: wrap(HeldOut, "__call__", nth(3 + 2)),
    "best, between its renames": lambda: wrap(
        Path, "rename", lambda path, target: path.name == ".best.writing" and target.parent.exists()
        and (target.parent / ".best.previous").exists()
    ),
    "best, after its renames": lambda: wrap(Recorder, "record", at(8)),
    "half a line of metrics": lambda: half_a_line(9),
    "after a sample": lambda: wrap(Recorder, "sample", at(12), after=True),
    "the last save": lambda: wrap(Recorder, "evaluate", at(STEPS)),
    "before the picture": lambda: wrap(stage, "plot_losses", nth(1)),
    "before it is finished": lambda: wrap(RunDirectory, "set_status", lambda run, status: status == "finished"),
    "Ctrl-C in the rehearsal": lambda: wrap(Muon, "step", nth(2), do=interrupt),
    "Ctrl-C in a step": lambda: wrap(Muon, "step", nth(REHEARSAL_STEPS + 3), do=interrupt),
    "Ctrl-C in an action": lambda: wrap(Recorder, "show", at(11), do=interrupt),
    "Ctrl-C while saving": lambda: wrap(files, "_seal", nth(2), do=interrupt),
    "Ctrl-C in the last step": lambda: wrap(Recorder, "evaluate", at(STEPS), do=interrupt),
    "a broken pipe in a step's figures": lambda: wrap(Recorder, "show", at(7), do=break_the_pipe),
    "a broken pipe in a sample": lambda: wrap(Recorder, "sample", at(8), do=break_the_pipe),
    "Ctrl-C, impatiently": lambda: wrap(Recorder, "show", at(5), do=lambda: (interrupt(), interrupt())),
}  # fmt: skip


def child(moment: str, arguments: list[str], output: str) -> None:
    run_until(MOMENTS[moment], arguments, output)


def start(moment: str, text: Path, run: Path, *flags: str) -> tuple[int, str]:
    """The exit code, and all that was written."""
    arguments = ["pretrain", "--data", str(text), "--run", str(run), *FLAGS, *flags]
    return in_a_process(child, moment, arguments, run.parent)


def trace(run: Path) -> dict[str, Any]:
    """All that a run leaves behind, but for times."""
    saved = {path.name: path for path in (run / "checkpoints").glob("step-*")}
    assert {path.name for path in run.iterdir()} == {
        *(".lock", "run.json", "metrics.jsonl", "samples.jsonl", "checkpoints", "history", "best", "loss.png")
    }
    return {
        "metrics": [without_times(record) for record in read_lines(run / "metrics.jsonl")],
        "samples": (run / "samples.jsonl").read_bytes(),
        "best": (run / "best" / "model.safetensors").read_bytes(),
        "last": (saved[f"step-{STEPS}"] / "model.safetensors").read_bytes(),
        "state": without_times(load_state(saved[f"step-{STEPS}"] / STATE_FILE)),
        "status": RunDirectory(run).read_info()["status"],
    }


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text(make_text(), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def uninterrupted(text: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    code, output = start("never", text, run)
    assert code == 0, output
    return trace(run)


def test_the_same_run_twice_is_the_same(text, uninterrupted, run):
    assert start("never", text, run)[0] == 0
    assert trace(run) == uninterrupted
    assert len(uninterrupted["metrics"]) == STEPS


@pytest.mark.parametrize(
    "moments",
    [
        ("before the run begins", "half a step"),
        ("half of run.json", "before the first save"),
        ("the first save, unsealed", "best, between its renames"),
        ("a save, before its rename", "after a sample"),
        ("a save, after its rename", "a later save, unsealed"),
        ("evaluation", "half a line of metrics"),
        ("best, after its renames", "half a step", "the last save"),
        ("before the picture", "before it is finished"),
    ],
    ids=", ".join,
)
def test_after_kill_9_a_run_goes_on_as_if_nothing_had_happened(text, uninterrupted, run, moments):
    for number, moment in enumerate(moments):
        code, output = start(moment, text, run, *["--resume"] * (number > 0))
        assert code == -signal.SIGKILL, output
    code, output = start("never", text, run, "--resume")
    assert code == 0, output
    assert trace(run) == uninterrupted


@pytest.mark.parametrize(
    "moment",
    ["Ctrl-C in a step", "Ctrl-C in an action", "Ctrl-C while saving", "Ctrl-C in the last step", "Ctrl-C, impatiently"],
)  # fmt: skip
def test_after_ctrl_c_as_well(text, uninterrupted, run, moment):
    code, output = start(moment, text, run)
    assert code == 130, output
    assert "Traceback" not in output
    last = output.strip().splitlines()[-1]
    saved = sorted((run / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))
    assert last == f"Interrupted. {saved[-1]} is saved: resume with --resume."
    assert RunDirectory(run).read_info()["status"] == "interrupted"
    code, output = start("never", text, run, "--resume")
    assert code == 0, output
    assert trace(run) == uninterrupted


@pytest.mark.parametrize(
    ("moment", "saved"), [("a broken pipe in a step's figures", 7), ("a broken pipe in a sample", 8)]
)
def test_a_reader_that_goes_away_loses_nothing(text, uninterrupted, run, moment, saved):
    assert start(moment, text, run)[0] == 0
    assert RunDirectory(run).read_info()["status"] == "interrupted"
    assert newest_valid(run / "checkpoints")[0] == run / "checkpoints" / f"step-{saved}"
    assert start("never", text, run, "--resume")[0] == 0
    assert trace(run) == uninterrupted


@pytest.mark.parametrize("harm", ["flipped", "missing"])
def test_a_damaged_newest_checkpoint_costs_only_time(text, uninterrupted, run, harm):
    assert start("after a sample", text, run)[0] == -signal.SIGKILL
    path = run / "checkpoints" / "step-12" / STATE_FILE
    if harm == "missing":
        path.unlink()
    else:
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(raw)
    code, output = start("never", text, run, "--resume")
    assert code == 0
    assert "step-12 is damaged" in output
    assert "Resuming after step 10" in output
    assert trace(run) == uninterrupted


def test_ctrl_c_before_the_first_step(text, run):
    """While the rehearsal runs: nothing is saved, and nothing stands in the way of beginning again."""
    code, output = start("Ctrl-C in the rehearsal", text, run)
    assert code == 130
    assert output.strip().splitlines()[-1] == "Interrupted."
    assert start("never", text, run)[0] == 0


def test_other_optimizers_and_architectures_resume_exactly(text, tmp_path):
    flags = ("--optimizer", "adamw", "--learning-rate", "0.003", "--architecture", "gpt2")
    whole, halves = tmp_path / "whole" / "run", tmp_path / "halves" / "run"
    for run in (whole, halves):
        run.parent.mkdir()
    assert start("never", text, whole, *flags)[0] == 0
    assert start("after a sample", text, halves, *flags)[0] == -signal.SIGKILL
    assert start("never", text, halves, "--resume", *flags)[0] == 0
    assert trace(halves) == trace(whole)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="no C++ compiler")
def test_compiled_runs_resume_exactly(text, tmp_path):
    whole, halves = tmp_path / "whole" / "run", tmp_path / "halves" / "run"
    for run in (whole, halves):
        run.parent.mkdir()
    assert start("never", text, whole, "--compile", "on")[0] == 0
    assert start("after a sample", text, halves, "--compile", "on")[0] == -signal.SIGKILL
    code, output = start("never", text, halves, "--resume", "--compile", "on")
    assert code == 0
    assert "Compiling" in output
    assert trace(halves) == trace(whole)
