"""`folio pretrain` from a text to a model, and what folio.report.pretrain tells of it."""

import io
import json
import math
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from interrupting import ctrl_c_at
from rich.console import Console
from tiny import STEPS, TINY, make_text

from folio import checkpoint
from folio.batch import Batch, Loss
from folio.data.windows import validation_windows
from folio.evaluation.loss import HeldOut
from folio.files import damage, read_lines
from folio.objectives.next_token import next_token_loss
from folio.runs.directory import RunDirectory
from folio.runs.flags import read_config
from folio.runs.load import load_for_inference
from folio.runs.rehearsal import REHEARSAL_STEPS
from folio.runs.settings import RunConfig
from folio.stages import pretrain as stage
from folio.tokenizer.directory import load_tokenizer
from folio.training import task


def test_a_run_leaves_what_it_should(folio, finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {
        *(".lock", "run.json", "metrics.jsonl", "samples.jsonl", "checkpoints", "history", "best", "loss.png")
    }
    assert sorted(path.name for path in (finished / "checkpoints").iterdir()) == ["step-18", "step-20"]
    assert list(RunDirectory(finished).models()) == list(range(2, STEPS + 1, 2))
    for directory in (finished / "best", *RunDirectory(finished).models().values()):
        assert damage(directory) is None
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {p.name for p in directory.iterdir()}
    info = json.loads((finished / "run.json").read_text())
    assert info["status"] == "finished"
    assert info["plan"]["steps"] == STEPS
    assert info["plan"]["accumulation"] == 2
    assert info["config"]["seed"] == 1
    assert info["peak_memory"] > 0
    assert {"folio", "torch", "hardware", "runtime", "data_sha256"} <= info.keys()


def test_the_metrics_of_a_run(finished):
    records = read_lines(finished / "metrics.jsonl")
    assert [record["step"] for record in records] == list(range(1, STEPS + 1))
    assert [record["tokens"] for record in records] == [64 * step for step in range(1, STEPS + 1)]
    assert [record["step"] for record in records if "val_loss" in record] == list(range(2, STEPS + 1, 2))
    assert records[0]["loss"] == pytest.approx(math.log(22 + 5), rel=1e-5), (
        "a new model finds all equally likely"
    )
    assert records[-1]["val_loss"] < records[1]["val_loss"]
    assert all(record["gradient_norm"] > 0 and record["learning_rate"] > 0 for record in records)
    seconds = [record["train_seconds"] for record in records]
    assert seconds == sorted(seconds)
    samples = read_lines(finished / "samples.jsonl")
    assert [sample["step"] for sample in samples] == list(range(2, STEPS + 1, 2))
    assert all(sample["text"].startswith("\n") for sample in samples)


def test_bits_per_byte_are_the_losses_over_the_bytes_that_they_are_of(finished):
    text = make_text()
    validation = text[int(0.9 * len(text)) :]
    n_targets, n_bytes = len(validation) - 1, len(validation[1:].encode())
    assert n_bytes > n_targets
    for record in read_lines(finished / "metrics.jsonl"):
        if "val_loss" in record:
            bits = record["val_loss"] * n_targets / math.log(2)
            assert record["val_bpb"] == pytest.approx(bits / n_bytes)


def test_best_is_the_best(finished):
    records = [record for record in read_lines(finished / "metrics.jsonl") if "val_loss" in record]
    best = min(records, key=lambda record: record["val_loss"])
    model, tokenizer = load_for_inference(finished)
    text = make_text()
    ids = torch.from_numpy(tokenizer.encode(text[int(0.9 * len(text)) :])).long()
    val_loss = HeldOut(list(validation_windows(ids, model.config.block_size, 7)), n_bytes=1)(model)[
        "val_loss"
    ]
    assert val_loss == pytest.approx(best["val_loss"], rel=1e-5)


def test_what_is_shown(pretrain, run):
    done = pretrain()
    assert (done.code, done.err) == (0, "")
    for words in ("characters", "22 distinct", "2 layers, width 16", "estimate", f"step {STEPS}/{STEPS}", "val_loss",
                  "characters/s", "left 0:00", "validation loss", "nats per character", "loss.png", "Next"):  # fmt: skip
        assert words in done.out, words
    assert "\x1b" not in done.out, "no terminal, no colors"
    assert "Traceback" not in done.out


def test_a_finished_run_shows_its_result_at_once(folio, finished):
    for flags in ([], ["--resume"]):
        before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
        data = json.loads((finished / "run.json").read_text())["config"]["data"]
        done = folio("pretrain", "--data", data, "--run", finished, *flags)
        assert done.code == 0
        assert "is already finished" in done.out
        assert "validation loss" in done.out
        assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


@pytest.mark.parametrize("architecture", ["qwen3", "llama", "gpt2"])
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_every_architecture_and_optimizer_trains(pretrain, run, architecture, optimizer):
    rate = "0.02" if optimizer == "muon" else "0.003"
    flags = (
        "--architecture",
        architecture,
        "--optimizer",
        optimizer,
        "--learning-rate",
        rate,
        "--dropout",
        "0.1",
    )
    assert pretrain(*flags, "--steps", "6", "--warmup-steps", "0").code == 0
    losses = [record["loss"] for record in read_lines(run / "metrics.jsonl")]
    assert losses[-1] < losses[0]
    assert json.loads((run / "best" / "config.json").read_text())["model_type"] == architecture


def test_without_knobs_folio_picks_all(folio, tmp_path, text_file, monkeypatch):
    monkeypatch.setattr("folio.runtime.matmul_speed", lambda device, dtype: 2e6)
    monkeypatch.chdir(tmp_path)
    done = folio("pretrain", "--data", "words.txt", "--minutes", "0.01", "--compile", "off", "--threads", "1")
    assert done.code == 0
    info = json.loads((tmp_path / "runs" / "words" / "run.json").read_text())
    assert info["plan"]["steps"] >= 1
    assert info["plan"]["model"]["block_size"] < 0.1 * len(make_text())
    assert "estimate" in done.out


def test_a_recipe_and_flags(folio, tmp_path, text_file, run):
    recipe = tmp_path / "recipes" / "mine"
    recipe.mkdir(parents=True)
    sizes = "n_layer = 1\nn_head = 1\nn_embd = 16\nmlp_size = 16\nblock_size = 16\ntokens_per_step = 32\nsteps = 9\n"
    (recipe / "pretrain.toml").write_text(
        f'data = "{text_file}"\nprompt = "the "\n[size]\n{sizes}[runtime]\ncompile = "off"\nthreads = 1\nprecision = "float32"\n'
    )
    done = folio("pretrain", recipe, "--run", run, "--steps", "3")
    assert done.code == 0
    info = json.loads((run / "run.json").read_text())
    reference = {"hardware": "x", "shares": [1.0], "losses": [[9.0, 9.1]], "landmarks": {"the lecture": 1.48}}
    same = {"text_sha256": info["data_sha256"], "plan": info["plan"]}
    (recipe / "pretrain.reference.json").write_text(json.dumps(reference | same))
    other = folio("pretrain", recipe, "--run", run.with_name("other"), "--steps", "2").out
    assert "other sizes, or another number of steps" in " ".join(other.split())
    assert "1.48" not in other
    done = folio("pretrain", recipe, "--run", run, "--steps", "3")
    assert "1.48 (the lecture)" in done.out
    assert "better than the measured ones" in done.out
    assert len(read_lines(run / "metrics.jsonl")) == 3
    assert read_lines(run / "samples.jsonl")[0]["text"].startswith("the ")
    again = folio("pretrain", recipe, "--run", run)
    assert "started with steps 3, not 9" in again.mistake
    assert "already finished" in folio("pretrain", recipe, "--run", run, "--steps", "3").out


def test_a_prompt_with_unknown_characters_is_no_matter(pretrain, run):
    assert pretrain("--prompt", "☃the \udcff", "--steps", "2").code == 0
    assert read_lines(run / "samples.jsonl")[0]["text"].startswith("the ")
    assert pretrain("--prompt", "☃the \udcff", "--steps", "2").code == 0


def test_a_model_that_learns_by_heart_is_stopped_and_the_best_kept(pretrain, text_file, run):
    chance = random.Random(1)
    text_file.write_text("".join(chance.choices("abcdefgh \n", k=600)), encoding="utf-8")
    done = pretrain("--n-embd", "32", "--mlp-size", "64", "--steps", "200", "--warmup-steps", "0")
    assert (done.code, done.err) == (0, "")
    records = read_lines(run / "metrics.jsonl")
    evaluated = [record for record in records if "val_loss" in record]
    best = min(evaluated, key=lambda record: record["val_loss"])
    out = " ".join(done.out.split())
    assert f"Validation loss is rising: it was lowest at step {best['step']}" in out
    assert f"Stopped early: validation loss has not improved since step {best['step']}" in out
    measured = (
        f"{best['val_loss']:.4f} nats per character, at step {best['step']}; {best['val_bpb']:.4f} bits"
    )
    assert measured in out
    assert records[-1]["step"] == evaluated[-1]["step"] < 200
    assert RunDirectory(run).read_info()["status"] == "finished"
    model, tokenizer = load_for_inference(run)
    ids = torch.from_numpy(tokenizer.encode(text_file.read_text(encoding="utf-8")[540:])).long()
    held_out = HeldOut(list(validation_windows(ids, model.config.block_size, 7)), n_bytes=1)
    assert held_out(model)["val_loss"] == pytest.approx(best["val_loss"], rel=1e-5)


def nan_after(n_calls: int):
    """The next-token loss, which stops being a number after so many micro-batches."""
    calls = 0

    def loss(model: torch.nn.Module, batch: Batch) -> Loss:
        nonlocal calls
        calls += 1
        good = next_token_loss(model, batch)
        return Loss(good.total * (math.nan if calls > n_calls else 1.0), good.count)

    return loss


@pytest.mark.parametrize("n_steps", [0, 7])
def test_a_loss_that_is_no_number_is_explained(pretrain, run, monkeypatch, n_steps):
    steps = task.optimizer_steps
    rehearsed = 2 * REHEARSAL_STEPS
    bad = nan_after(rehearsed + 2 * n_steps)
    monkeypatch.setattr(
        task, "optimizer_steps", lambda model, loss, *rest, **kw: steps(model, bad, *rest, **kw)
    )
    mistake = pretrain().mistake
    assert "no longer a number" in mistake
    assert f"step {n_steps + 1}" in mistake
    assert "learning" in mistake
    kept = str(run / "checkpoints" / "step-6")
    assert (kept if n_steps else "no checkpoint yet") in mistake
    assert RunDirectory(run).read_info()["status"] == "failed"
    if n_steps:
        assert damage(Path(kept)) is None


def test_memory_that_runs_out_in_a_step_keeps_what_was_saved(pretrain, run, monkeypatch):
    optimizer_steps = task.optimizer_steps

    def run_out(*arguments, **settings):
        for report in optimizer_steps(*arguments, **settings):
            if report.step == 8:  # later than any rehearsal
                raise torch.OutOfMemoryError
            yield report

    whole = pretrain("--run", run.with_name("whole"))
    assert whole.code == 0
    with monkeypatch.context() as patched:
        patched.setattr(task, "optimizer_steps", run_out)
        mistake = pretrain().mistake
    assert "Memory ran out" in mistake
    assert f"{run / 'checkpoints' / 'step-6'} is saved" in mistake
    assert RunDirectory(run).read_info()["status"] == "interrupted"
    assert pretrain("--resume").code == 0
    losses = [
        read_lines(RunDirectory(each).metrics_file)[-1]["loss"] for each in (run, run.with_name("whole"))
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("rate", ["1e4", "1e6"])
def test_a_rate_far_too_high_is_explained(pretrain, run, rate):
    flags = [f"--{kind}learning-rate={rate}" for kind in ("", "head-", "embedding-")]
    done = pretrain(*flags, "--warmup-steps", "0")
    if done.code:  # some models survive 1e6
        assert "no longer a number" in done.mistake
        assert "learning" in done.mistake
    else:
        assert rate == "1e4"


def test_a_full_disk_keeps_the_earlier_checkpoint(pretrain, run, monkeypatch):
    save_file, calls = checkpoint.save_file, 0

    def fail_later(*arguments: object, **more: object) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise OSError(28, "No space left on device")
        save_file(*arguments, **more)

    monkeypatch.setattr(checkpoint, "save_file", fail_later)
    mistake = pretrain().mistake
    assert "No space left on device" in mistake
    assert "Make room on the disk. What was saved before is untouched: resume with --resume." in mistake
    assert damage(run / "checkpoints" / "step-4") is None
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-2", "step-4"]
    monkeypatch.undo()
    assert pretrain("--resume").code == 0


@pytest.mark.parametrize("action", ["record", "sample"])
def test_a_full_disk_between_saves_is_told_as_well(pretrain, monkeypatch, action):
    original = Path.open

    def fail(path: Path, mode: str = "r", *arguments: object, **more: object):
        if path.name == {"record": "metrics.jsonl", "sample": "samples.jsonl"}[action] and "a" in mode:
            raise OSError(28, "No space left on device")
        return original(path, mode, *arguments, **more)

    monkeypatch.setattr(Path, "open", fail)
    assert "No space left on device" in pretrain().mistake


@pytest.fixture
def interrupted(pretrain, run) -> Path:
    """A run that was interrupted in its second step."""
    with ctrl_c_at("step 2, val_loss"):
        assert pretrain().code == 130
    return run


def test_an_interrupt_says_where_it_saved(interrupted, pretrain, run):
    assert RunDirectory(run).read_info()["status"] == "interrupted"
    assert damage(run / "checkpoints" / "step-2") is None


def test_an_interrupt_is_told(pretrain, run):
    """After the next step, which is saved although no save is due."""
    with ctrl_c_at("step 1/40"):
        done = pretrain("--steps", "40")
    assert done.code == 130
    lines = [line for line in done.err.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("Interrupted. ")
    assert str(run / "checkpoints" / "step-2") in lines[0]
    assert "--resume" in lines[0]


def test_a_reader_that_goes_away_ends_the_run_without_a_word(text_file, run):
    arguments = ["pretrain", "--data", text_file, "--run", run, *TINY, "--steps", "5000"]
    with subprocess.Popen(
        [sys.executable, "-m", "folio", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert any(line.startswith(b"step 1/") for line in process.stdout)
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr
        assert process.stderr.read() == b""
    assert RunDirectory(run).read_info()["status"] == "interrupted"


def test_an_unfinished_run_is_not_begun_again_by_mistake(interrupted, pretrain, run):
    mistake = pretrain().mistake
    assert "unfinished" in mistake
    assert "--resume" in mistake
    assert damage(run / "checkpoints" / "step-2") is None


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--seed", "7"], "started with seed 1, not 7"),
        (["--n-embd", "32"], "started with n_embd 16, not 32"),
        (["--architecture", "llama"], "started with architecture 'qwen3', not 'llama'"),
        (["--learning-rate", "0.5"], "started with learning_rate 0.02, not 0.5"),
    ],
)
def test_contradictions_are_refused(interrupted, pretrain, flags, words):
    assert words in pretrain("--resume", *flags).mistake


def test_resume_needs_no_other_flags(interrupted, folio, text_file, run):
    done = folio("pretrain", "--data", text_file, "--run", run, "--resume")
    assert done.code == 0
    assert "Resuming after step 2" in done.out


def test_resume_of_a_run_that_was_never_begun_begins_it(pretrain):
    outcome = pretrain("--resume", "--steps", "2")
    assert outcome.code == 0
    assert "there is no run to resume yet, so this begins one" in " ".join(outcome.out.split())


def test_a_changed_text_is_refused(interrupted, pretrain, text_file):
    text_file.write_text(make_text() + "!", encoding="utf-8")
    assert "learned from other data" in pretrain("--resume").mistake


def test_a_checkpoint_of_another_architecture_is_refused(
    interrupted, pretrain, folio, run, text_file, tmp_path
):
    other = tmp_path / "other"
    arguments = ("--data", text_file, "--run", other, *TINY, "--steps", "2", "--n-layer", "3")
    assert folio("pretrain", *arguments).code == 0
    (other / "checkpoints" / "step-2").rename(run / "checkpoints" / "step-3")
    assert "has n_layer 3, this one 2" in pretrain("--resume").mistake


def test_damage_to_all_checkpoints_begins_again(interrupted, pretrain, run):
    (run / "checkpoints" / "step-2" / "training.safetensors").write_bytes(b"")
    done = pretrain("--resume")
    assert done.code == 0
    assert "step-2 is damaged (training.safetensors has changed" in done.out
    assert "No valid checkpoint is left: starting again." in done.out
    assert RunDirectory(run).read_info()["status"] == "finished"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda info: info.pop("plan"), "damaged"),
        (lambda info: info["plan"].pop("model"), "run.json"),
        (lambda info: info["plan"].update(more=1), "run.json"),
        (lambda info: info["plan"]["model"].update(n_layer="two"), "run.json"),
        (lambda info: info["config"].update(more=1), "run.json"),
        (lambda info: info["config"]["size"].update(n_embd="x"), "run.json"),
        (lambda info: info["runtime"].pop("threads"), "run.json"),
        (lambda info: info.update(runtime=3), "run.json"),
        (lambda info: info.update(config=3), "run.json"),
    ],
)  # fmt: skip
def test_a_run_json_that_makes_no_sense_is_named(interrupted, pretrain, run, change, words):
    info = json.loads((run / "run.json").read_text())
    change(info)
    (run / "run.json").write_text(json.dumps(info))
    assert words in pretrain("--resume").mistake


@pytest.mark.parametrize("lost", ["metrics.jsonl", "best", "best/config.json", "best/model.safetensors"])
def test_a_finished_run_that_has_lost_something_still_gives_a_line(finished, folio, tmp_path, lost):
    run = tmp_path / "copy"
    shutil.copytree(finished, run)
    (shutil.rmtree if (run / lost).is_dir() else Path.unlink)(run / lost)
    data = json.loads((run / "run.json").read_text())["config"]["data"]
    done = folio("pretrain", "--data", data, "--run", run)
    assert done.code == 0 or done.mistake


def test_forty_columns(pretrain, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    done = pretrain("--steps", "2")
    assert done.code == 0
    table = done.out[: done.out.index("step 1")]
    assert max(map(len, table.splitlines())) <= 40


def test_a_terminal_of_forty_columns(pretrain, text_file, run):
    tiny = read_config(stage.PretrainRunConfig, TINY, recipe=None, prog="", description="")
    file = io.StringIO()
    console = Console(file=file, width=40, force_terminal=True, emoji=False, markup=False, highlight=False)
    stage.STAGE.run(replace(tiny, data=str(text_file), output=RunConfig(run=run)), None, console)
    assert f"step {STEPS} of {STEPS}" in file.getvalue()


def test_python_dash_m_folio_is_folio(text_file, run):
    command = [
        sys.executable,
        "-m",
        "folio",
        "pretrain",
        "--data",
        text_file,
        "--run",
        run,
        *TINY,
        "--steps",
        "2",
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert "validation loss" in done.stdout


def test_a_stand_in_for_a_text_has_a_run_of_its_own(folio, tmp_path, monkeypatch):
    """Without a network and a copy of Shakespeare."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOLIO_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("pooch.os_cache", lambda name: str(tmp_path / "cache"))
    monkeypatch.setattr(
        "requests.get", lambda *args, **kwargs: (_ for _ in ()).throw(ConnectionError("no network"))
    )
    done = folio("pretrain", *TINY, "--steps", "2")
    assert done.code == 0
    assert "python-reference" in done.out
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["python-reference"]


@pytest.mark.slow
def test_a_compiler_that_does_not_work_is_done_without(text_file, run, tmp_path):
    broken = tmp_path / "bin" / "g++"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    flags = [*TINY, "--compile", "auto", "--steps", "2"]
    environment = os.environ | {
        "PATH": f"{broken.parent}:{os.environ['PATH']}",
        "CXX": str(broken),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "folio", "pretrain", "--data", str(text_file), "--run", str(run), *flags],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "going on without it" in done.stdout
    assert json.loads((run / "run.json").read_text())["runtime"]["compiles"] is False


def test_validation_may_be_a_text_of_its_own(pretrain, run, tmp_path):
    (tmp_path / "other.txt").write_text("the cat ran to the mat. " * 20, encoding="utf-8")
    done = pretrain("--validation", tmp_path / "other.txt", "--steps", "2")
    assert done.code == 0, done.err
    assert "other.txt" in json.loads((run / "run.json").read_text())["data"]


def test_characters_that_conversations_may_need_are_reserved(pretrain, run, text_file):
    text = text_file.read_text(encoding="utf-8")
    assert pretrain("--steps", "1").code == 0  # with none reserved
    assert set(load_tokenizer(run / "best").characters) == set(text)
    assert pretrain("--steps", "1", "--reserve", "printable", "--run", run.with_name("reserved")).code == 0
    reserved = set(load_tokenizer(run.with_name("reserved") / "best").characters)
    assert {*text, *text.upper(), *map(chr, range(32, 127)), "\n", "’", "—"} <= reserved
