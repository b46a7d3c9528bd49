"""`folio sft`: a model learns to answer, and folio.report.sft tells of it."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from tiny_rl import make_talk

from folio.data.corpora import Corpus
from folio.data.plays import dialogues
from folio.files import read_lines
from folio.runs.directory import RunDirectory
from folio.runs.load import load_for_inference

TINY = (
    *("--device", "cpu", "--precision", "float32", "--compile", "off", "--threads", "1"),
    *("--micro-batch-size", "4", "--epochs", "2", "--prompt", "the cat", "--sample-tokens", "8"),
)


@pytest.fixture
def talk(tmp_path):
    return make_talk(tmp_path / "talk.jsonl")


@pytest.fixture
def tune(folio, finished, talk, run):
    """Runs `folio sft` on the finished tiny model; later flags win."""
    return lambda *flags: folio("sft", finished, "--data", talk, "--run", run, *TINY, *flags)


def test_a_model_learns_to_answer(tune, run):
    outcome = tune("--epochs", "40", "--learning-rate", "0.02", "--head-learning-rate", "0.02")
    assert outcome.code == 0, outcome.err
    info = json.loads((run / "run.json").read_text())
    evaluated = [line["val_loss"] for line in read_lines(run / "metrics.jsonl") if "val_loss" in line]
    assert min(evaluated) < 0.5 * info["before"]["val_loss"]
    assert info["status"] == "finished"
    assert info["stage"] == "sft"
    assert (run / "loss.png").exists()
    assert f"{min(evaluated):.4f}" in outcome.out
    assert read_lines(run / "samples.jsonl")[-1]["text"].startswith("> the cat")


def test_what_it_makes_is_a_model_directory_that_transformers_chat_with(tune, run):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tune()
    tokenizer = AutoTokenizer.from_pretrained(run / "best")
    theirs = AutoModelForCausalLM.from_pretrained(run / "best")
    messages = [{"role": "user", "content": "the cat"}]
    ids = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    model, _ = load_for_inference(run)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(ids).logits, model(ids), rtol=1e-4, atol=1e-4)


def same_but_for_time(run):
    return [{**line, "train_seconds": 0} for line in read_lines(run / "metrics.jsonl")]


def test_a_run_that_is_killed_goes_on_to_the_last_bit(tune, folio, finished, talk, run, tmp_path):
    assert (
        folio("sft", finished, "--data", talk, "--run", tmp_path / "whole", *TINY, "--epochs", "30").code == 0
    )
    command = [sys.executable, "-m", "folio", "sft", str(finished), "--data", str(talk), "--run", str(run), *TINY,
               "--epochs", "30"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(run.glob("checkpoints/step-*")):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    outcome = tune("--epochs", "30", "--resume")
    assert outcome.code == 0
    assert "Resuming after step" in outcome.out
    assert same_but_for_time(run) == same_but_for_time(tmp_path / "whole")


def test_a_finished_run_is_shown_again(tune):
    tune()
    assert "already finished" in tune().out


PLAY = "".join(f"{'AB'[i % 2]}:\n{('cat', 'mat')[i % 2]}\n\n" for i in range(60))


@pytest.mark.parametrize("has_own", [False, True])
def test_the_plays_are_conversations(tune, run, talk, monkeypatch, has_own):
    corpus = Corpus("shakespeare", PLAY, "a play")
    monkeypatch.setattr("folio.data.known.load_corpus", lambda _: corpus)
    outcome = tune("--data", "shakespeare", *(["--validation", talk] if has_own else []))
    assert outcome.code == 0, outcome.err
    n_measured = 40 if has_own else len(dialogues(corpus.split()[1], 120))
    assert f"{n_measured} held out" in " ".join(outcome.out.split())


def test_what_stands_in_for_a_play_is_no_conversation(tune, run, monkeypatch):
    corpus = Corpus("python", "text", "a manual", ("shakespeare is not here.",))
    monkeypatch.setattr("folio.data.known.load_corpus", lambda _: corpus)
    assert "It has no speeches" in tune("--data", "shakespeare").mistake
    assert not run.exists()


def test_an_unknown_character_is_named_with_its_line(tune, talk):
    lines = talk.read_text().splitlines()
    talk.write_text(
        "\n".join(
            [
                *lines[:-1],
                lines[-1]
                .replace("no!", "ξξξ")
                .replace("cat", "ξ")
                .replace("mat", "ξ")
                .replace("ran", "ξ")
                .replace("the", "ξ"),
            ]
        )
    )
    assert f"does not know: 'ξ' (1 time, first in {talk}, line 40)" in tune().mistake


def test_bits_per_byte_are_those_of_what_is_measured(tune, run, talk):
    tune()
    line = next(line for line in read_lines(run / "metrics.jsonl") if "val_bpb" in line)
    long = {
        "messages": [{"role": "user", "content": "the"}, {"role": "assistant", "content": "the cat " * 9}]
    }
    with talk.open("a") as file:
        file.write(json.dumps(long) + "\n")
    assert 0.3 < line["val_bpb"] / (line["val_loss"] / math.log(2)) < 1.7


MISTAKES = {
    "no model": (["nothing"], "nothing: no such run or model directory"),
    "no file": (["--data", "nothing.jsonl"], "nothing.jsonl cannot be read"),
    "no epochs": (["--epochs", "0"], "epochs is 0"),
    "no rows": (["--micro-batch-size", "0"], "micro_batch_size is 0"),
    "no room": (["--block-size", "1"], "block_size is 1"),
    "little room": (["--block-size", "5"], "has a first answer within 5 tokens, the model's context"),
}


@pytest.mark.parametrize(("flags", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_in_one_line(tune, folio, run, talk, flags, told):
    outcome = (
        tune(*flags) if flags[0].startswith("--") else folio("sft", *flags, "--data", talk, "--run", run)
    )
    assert told in outcome.mistake
    assert not run.exists()


def test_answers_that_do_not_fit_are_told(tune, talk, run):
    long = [{"role": "user", "content": "the cat sat on a mat"}, {"role": "assistant", "content": "no!"}]
    talk.write_text("\n".join([json.dumps({"messages": long})] * 3))
    assert "none of 2 conversations has a first answer within 16 tokens" in tune().mistake
    make_talk(talk)
    with talk.open("a") as file:
        file.writelines(json.dumps({"messages": long}) + "\n" for _ in range(3))
    assert "3 left out" in tune().err


def test_one_conversation_is_too_few(tune, talk):
    make_talk(talk, n=1)
    assert "at least two" in tune().mistake


def test_other_conversations_are_no_continuation(tune, talk, run):
    assert tune().code == 0
    RunDirectory(run).set_status("interrupted")
    make_talk(talk, n=30)
    assert "learned from other data" in tune("--resume").mistake


def test_a_mistyped_model_is_told_before_any_data_are_looked_for(folio):
    assert "runs/nosuch: no such run" in folio("sft", "runs/nosuch", "--data", "nosuch.jsonl").mistake
