import io
import os
import subprocess
import sys

import pytest
from random_models import TOKENIZER, silent_gpt, talkative_gpt
from terminals import in_terminal
from tiny import instructed

from folio.data.conversations import read_conversations
from folio.runs.load import save


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of the user's data."""
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def chat(folio, finished, monkeypatch):
    """Runs `folio chat` on the finished tiny model, with these lines on stdin."""

    def run(*lines, flags=(), model=finished):
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(line + "\n" for line in lines)))
        return folio("chat", model, "--tokens", 6, *flags)

    return run


def test_every_line_gets_an_answer(chat):
    outcome = chat("a", "", "no", flags=["--tokens", "1", "--seed", "2"])
    assert outcome.code == 0
    (notice,) = outcome.err.splitlines()
    assert "not to answer; folio sft" in notice
    assert 2 <= outcome.out.count("\n") <= 4  # an answer may be a line's end itself


def test_the_same_seed_gives_the_same_answers(chat):
    assert chat("the cat", "a mat").out == chat("the cat", "a mat").out
    assert chat("the cat").out != chat("the cat", flags=["--seed", 9]).out


def test_a_retry_is_another_answer_to_the_same_question(chat, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chat("the cat", "/save one.jsonl", "/retry", "/save two.jsonl", "/save two.jsonl")
    (one,), (two, again) = (read_conversations(tmp_path / name) for name in ("one.jsonl", "two.jsonl"))
    assert one[0] == two[0] == {"role": "user", "content": "the cat"}
    assert one[1]["content"] != two[1]["content"]
    assert two == again


def test_the_system_and_a_reset(chat, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chat("the cat", "/reset", "/system the mat", "ran", "/save talk.jsonl")
    (messages,) = read_conversations(tmp_path / "talk.jsonl")
    assert [each["role"] for each in messages] == ["system", "user", "assistant"]
    assert messages[1]["content"] == "ran"


def test_a_long_conversation_loses_its_oldest_turns_whole(chat):
    outcome = chat("the cat", "a mat", "ran")  # the context is 16 tokens
    assert outcome.code == 0
    assert "the oldest 2 messages are no longer seen" in outcome.err


def test_at_temperature_zero_nothing_is_left_to_chance(chat):
    one, two = (chat("/temperature 0", "the cat", flags=["--seed", seed]).out for seed in (1, 2))
    assert one == two


ANSWERS = {
    "system": (["/system the mat"], "the system message is set."),
    "no system": (["/system"], "there is no system message."),
    "reset": (["/reset"], "a new conversation begins."),
    "temperature": (["/temperature 0.5"], "the temperature is 0.5."),
    "undo": (["the cat", "/undo"], "taken back, with its answer: the cat"),
    "save": (["the cat", "/save talk.jsonl"], "saved in talk.jsonl."),
    "load": (["the cat", "/save talk.jsonl", "/load talk.jsonl"], "continues talk.jsonl, 2 messages."),
}


@pytest.mark.parametrize(("lines", "told"), ANSWERS.values(), ids=ANSWERS)
def test_every_command_says_in_a_line_what_it_did(chat, tmp_path, monkeypatch, lines, told):
    monkeypatch.chdir(tmp_path)
    assert chat(*lines).err.splitlines()[-1] == f"folio: {told}"


def test_a_saved_conversation_is_continued(chat, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chat("/system a", "the cat", "/save talk.jsonl", "a mat", "/save whole.jsonl")
    chat("/load talk.jsonl", "/temperature 0.8", "a mat", "/save again.jsonl", flags=["--seed", "2"])
    (whole,), (again,) = (read_conversations(tmp_path / name) for name in ("whole.jsonl", "again.jsonl"))
    assert again == whole


def test_the_question_that_is_taken_back_is_forgotten(chat, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chat("the cat", "a mat", "/undo", "/save talk.jsonl")
    (messages,) = read_conversations(tmp_path / "talk.jsonl")
    assert [each["role"] for each in messages] == ["user", "assistant"]


MISTAKES = {
    "unknown command": ("/sytem x", "there is no such command. Commands: /help, /system"),
    "no temperature": ("/temperature warm", "'warm' is not a temperature"),
    "below zero": ("/temperature -1", "temperature"),
    "nothing to retry": ("/retry", "there is no answer yet"),
    "nothing to save": ("/save talk.jsonl", "nothing to save"),
    "a file of another kind": ("/save talk.txt", "ends in .jsonl"),
    "nothing to take back": ("/undo", "there is no answer yet"),
    "nothing to load": ("/load", "no earlier conversation is kept"),
    "a file that is not there": ("/load nowhere.jsonl", "nowhere.jsonl"),
    "a file of something else": ("/load {here}", "test_chat.py"),
    "a temperature next to zero": ("/temperature 1e-45", "temperature"),
    "a folder that is not there": ("/save nowhere/talk.jsonl", "nothing to save"),
    "a quote": ("/save it's.txt", "ends in .jsonl"),
    "unknown characters": ("ξξ", "never seen 'ξ'"),
}


@pytest.mark.parametrize(("line", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_and_the_chat_goes_on(chat, line, told):
    outcome = chat(line.format(here=__file__), "the cat")
    assert outcome.code == 0
    assert told in outcome.err
    assert outcome.out.strip() or outcome.out == "\n"


def test_help_names_every_command(chat):
    from folio.commands.chat import SLASH_COMMANDS

    out = chat("/help").out
    assert all(command in out for command in SLASH_COMMANDS if command != "/help")


def test_quitting_ends_it(chat):
    assert chat("/quit", "the cat").out == ""


def test_what_was_saved_can_be_learned_from(folio, chat, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my talk.jsonl").write_text('{"prompt": "the cat", "completion": "a mat"}')  # no line end
    chat("the cat", "/save my talk.jsonl", "/reset", "a", "/save my talk.jsonl")
    assert [each[0]["content"] for each in read_conversations(tmp_path / "my talk.jsonl")] == [
        "the cat",
        "the cat",
        "a",
    ]
    flags = ("--device", "cpu", "--precision", "float32", "--compile", "off", "--run", tmp_path / "run")
    outcome = folio("sft", finished, "--data", tmp_path / "my talk.jsonl", *flags)
    assert outcome.code == 0, outcome.err


def test_a_model_that_says_nothing_leaves_no_turn(chat, tmp_path):
    save(silent_gpt(), TOKENIZER, tmp_path / "silent")
    outcome = chat("a cab", "/retry", "/save talk.jsonl", model=tmp_path / "silent")
    assert "the question is taken back" in outcome.err
    assert "there is no answer yet" in outcome.err
    assert "nothing to save" in outcome.err


def test_a_question_that_does_not_fit_is_told_and_taken_back(chat):
    outcome = chat("the cat sat on a mat and ran to the mat", "/retry", "a")
    assert "that is too long: the model reads 16 tokens" in outcome.err
    assert "there is no answer yet" in outcome.err


def test_bytes_that_are_no_text_are_left_out(finished):
    command = [sys.executable, "-m", "folio", "chat", str(finished), "--tokens", "3"]
    done = subprocess.run(
        command,
        check=False,
        input=b"the \xff cat\n",
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert b"never seen" in done.stderr


def test_from_a_pipe_nothing_is_kept(chat, cache):
    chat("the cat")
    assert not cache.exists()


def test_in_a_terminal_a_conversation_survives_ctrl_c_and_kill(tmp_path):
    save(talkative_gpt(block_size=10_000), TOKENIZER, tmp_path / "model")
    arguments = ("-m", "folio", "chat", str(tmp_path / "model"))
    with in_terminal(*arguments, "--tokens", "100000", columns=40, XDG_CACHE_HOME=str(tmp_path)) as terminal:
        terminal.wait_for("> ")
        terminal.type("a cab\n")
        terminal.wait_for("a cab\n")
        lines = [terminal.wait_for("\n") for _ in range(3)]
        assert all(line.strip() and len(line) <= 40 + 1 for line in lines)
        terminal.interrupt("\n> ")  # stops the answer
        terminal.process.kill()
    with in_terminal(*arguments, "--tokens", "3", XDG_CACHE_HOME=str(tmp_path)) as terminal:
        terminal.wait_for("> ")
        terminal.type("/load\n")
        terminal.wait_for("2 messages.")
        terminal.wait_for("> ")
        terminal.type("\x04")
        terminal.wait_for("/load in the next chat continues it.")
        assert terminal.wait_for_end() == 0


@pytest.fixture
def taught(finished, tmp_path):
    """A copy of the tiny run that says it was fine-tuned on instructions."""
    return instructed(finished, tmp_path / "taught")


def test_an_assistant_that_follows_instructions_says_what_it_makes_of_a_request(chat, taught, finished):
    words = "no request of a kind that this model was taught"
    assert words in " ".join(chat("the cat", model=taught).err.split())
    assert words not in " ".join(chat("the cat", model=finished).err.split())
