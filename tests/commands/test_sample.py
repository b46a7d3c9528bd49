"""`folio sample`: what a person gets for a prompt."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from tiny import answering

from folio import chat, load

FOLIO = [sys.executable, "-m", "folio"]


@pytest.fixture
def sample(folio, finished):
    return lambda *flags: folio("sample", finished, *flags)


def test_the_prompt_is_continued(sample):
    done = sample("--prompt", "the cat", "--tokens", "30")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("the cat")
    assert done.out.endswith("\n")
    assert len(done.out) <= len("the cat") + 30 + 1


def test_a_seed_gives_its_text(sample):
    flags = ("--prompt", "the ", "--tokens", "40")
    assert sample(*flags, "--seed", "3").out == sample(*flags, "--seed", "3").out
    assert sample(*flags, "--seed", "3").out != sample(*flags, "--seed", "4").out


def test_several_answers_differ_and_each_continues_the_prompt(sample):
    done = sample("--prompt", "the ", "--tokens", "40", "--num", "2")
    first, second = done.out.removeprefix("--- 1 of 2 ---\n").split("\n--- 2 of 2 ---\n")
    assert first != second
    assert first.startswith("the ")
    assert second.startswith("the ")
    assert sample("--prompt", "the ", "--tokens", "40").out == first + "\n", "the first is as it is alone"


def test_greedy_answers_are_alike(sample):
    out = sample("--prompt", "the ", "--tokens", "20", "--num", "2", "--temperature", "0").out
    first, second = out.removeprefix("--- 1 of 2 ---\n").split("\n--- 2 of 2 ---\n")
    assert first == second.removesuffix("\n")


def test_unknown_characters_are_dropped_with_a_notice(sample):
    done = sample("--prompt", "t☃he\udcff", "--tokens", "5")
    assert done.code == 0
    assert done.out.startswith("the")
    assert done.err.startswith("folio: the model has never seen ")
    assert "☃" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("prompt", [[], ["--prompt", ""], ["--prompt", "☃"]])
def test_without_a_prompt_the_model_begins_by_itself(sample, prompt):
    done = sample(*prompt, "--tokens", "10")
    assert done.code == 0
    assert 1 < len(done.out) <= 11
    assert done.out == sample("--tokens", "10").out


def test_neither_prompt_nor_text_is_bounded_by_the_context(sample):
    prompt = "the cat ran to Zoë " * 5  # the context is 16
    done = sample("--prompt", prompt, "--tokens", "50", "--num", "2", "--temperature", "1.2")
    assert done.code == 0
    assert done.out.count(prompt) == 2
    assert len(done.out) > 2 * (len(prompt) + 30)


def test_a_prompt_beyond_the_context_is_said(sample):
    done = sample("--prompt", "the cat sat on a mat", "--tokens", "3")
    assert "the model reads 16 characters at once: it does not see the first 4 of the prompt's 20" in done.err
    assert sample("--prompt", "the cat sat on a", "--tokens", "3").err == ""


@pytest.fixture
def assistant(finished, tmp_path):
    return answering(finished, tmp_path / "run")


def test_an_assistant_answers_the_prompt(folio, assistant):
    flags = ("--prompt", "a cat", "--temperature", "0", "--tokens", "5")
    done = folio("sample", assistant, *flags)
    assert f"folio chat {assistant}" in done.err
    model, tokenizer = load(assistant)
    assert done.out == chat(model, tokenizer, "a cat", max_new_tokens=5, temperature=0.0) + "\n"
    raw = folio("sample", assistant, *flags, "--chat", "off")
    assert (raw.out[:5], raw.err) == ("a cat", "")


def test_an_assistant_needs_a_question_that_fits(folio, assistant):
    assert "give it one, as in --prompt" in folio("sample", assistant).mistake
    assert (
        "the question is too long" in folio("sample", assistant, "--prompt", "the cat sat on a mat").mistake
    )


def test_special_tokens_are_never_shown(sample):
    assert "<|" not in sample("--tokens", "300", "--temperature", "5", "--num", "3").out


def test_a_stop_text_ends_the_answer_before_it(sample):
    flags = ("--prompt", "the ", "--tokens", "60", "--temperature", "0")
    written = sample(*flags).out[4:]
    stop = written[2:4]
    assert sample(*flags, "--stop", stop).out == f"the {written[: written.index(stop)]}\n"
    assert sample(*flags, "--stop", "nowhere", stop).out == f"the {written[: written.index(stop)]}\n"


@pytest.mark.parametrize(
    "flags",
    [
        ["--top-k", "1"],
        ["--top-k", "99999"],
        ["--top-p", "1e-9"],
        ["--min-p", "0.99"],
        ["--temperature", "1e-6"],
    ],
)
def test_what_leaves_little_choice_still_writes(sample, flags):
    assert sample("--prompt", "the ", "--tokens", "20", *flags).code == 0


def test_checkpoints_and_model_directories_can_be_sampled(folio, finished, tmp_path):
    for path in (finished / "best", finished / "checkpoints" / "step-18"):
        assert folio("sample", path, "--tokens", "3").code == 0
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    shutil.rmtree(run / "best")
    (run / "checkpoints" / "step-20" / "model.safetensors").write_bytes(b"")
    done = folio("sample", run, "--tokens", "3")
    assert done.code == 0, "the newest whole checkpoint of an unfinished run"
    assert done.out == folio("sample", finished / "checkpoints" / "step-18", "--tokens", "3").out


def test_a_best_model_caught_between_two_renames_is_found(folio, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "best").rename(run / ".best.previous")
    assert folio("sample", run, "--tokens", "3").out == folio("sample", finished, "--tokens", "3").out


def test_a_reader_that_stops_reading(finished):
    command = [*FOLIO, "sample", finished, "--tokens", "100000", "--temperature", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.read(20)
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


def test_ctrl_c_ends_it(finished):
    command = [*FOLIO, "sample", finished, "--tokens", "100000", "--temperature", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.read(20)  # as it is written, not when it is complete
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert errors.strip() == "Interrupted."


def test_a_damaged_best_is_named_and_a_checkpoint_used(folio, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    weights = run / "best" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    done = folio("sample", run, "--tokens", "5")
    assert done.code == 0
    assert "best is damaged (model.safetensors has changed since it was written)" in done.err
