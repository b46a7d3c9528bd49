import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from folio.stages.models import load_for_inference
from folio.train.run import read_lines

WORDS = ["the cat", "a mat", "ran on", "no!", "Zoë?"]
TINY = (
    *("--device", "cpu", "--precision", "float32", "--compile", "off", "--threads", "1"),
    *("--micro-batch-size", "4", "--epochs", "2", "--prompt", "the cat"),
)


def make_talk(path, n=40):
    """Conversations that fit into 16 tokens, two or four turns each."""
    roles = ("user", "assistant")
    with path.open("w", encoding="utf-8") as file:
        for i in range(n):
            contents = [WORDS[(i + k) % len(WORDS)][:3] for k in range(2)]
            messages = [{"role": roles[k % 2], "content": content} for k, content in enumerate(contents)]
            file.write(json.dumps({"messages": messages}) + "\n")
    return path


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
    assert min(evaluated) < 0.5 * info["val_loss_before"]
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
        folio("sft", finished, "--data", talk, "--run", tmp_path / "whole", *TINY, "--epochs", "10").code == 0
    )
    command = [sys.executable, "-m", "folio", "sft", str(finished), "--data", str(talk), "--run", str(run), *TINY,
               "--epochs", "10"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(read_lines(run / "metrics.jsonl")) < 8:
        time.sleep(0.05)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert tune("--epochs", "10", "--resume").code == 0
    assert same_but_for_time(run) == same_but_for_time(tmp_path / "whole")


def test_a_finished_run_is_shown_again(tune):
    tune()
    assert "finished already" in tune().out


def test_the_plays_are_conversations(folio, finished, run, tmp_path, monkeypatch):
    """With the real text, if it is here, the tiny model's alphabet does not do: that is told."""
    outcome = folio("sft", finished, "--data", "shakespeare", "--run", run, *TINY)
    assert outcome.code == 2
    assert "does not know" in outcome.mistake
    assert "conversation 1" in outcome.mistake


MISTAKES = {
    "no model": (["nothing"], "nothing: no such run or model directory"),
    "no file": (["--data", "nothing.jsonl"], "nothing.jsonl cannot be read"),
    "no epochs": (["--epochs", "0"], "epochs is 0"),
    "no rows": (["--micro-batch-size", "0"], "micro_batch_size is 0"),
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
    assert "3 left out" in " ".join(tune().out.split())


def test_one_conversation_is_too_few(tune, talk):
    make_talk(talk, n=1)
    assert "at least two" in tune().mistake


def test_other_conversations_are_no_continuation(tune, talk, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("folio.stages.running.fit", interrupted)
    assert tune().code == 130
    monkeypatch.undo()
    make_talk(talk, n=30)
    assert "conversations are not those" in tune("--resume").mistake
