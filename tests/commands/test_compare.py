"""`folio chat --compare`: a person says which of two answers is better."""

import io
import json
import re
import signal

import pytest
from random_models import TOKENIZER, silent_gpt, talkative_gpt
from tiny import TINY

from folio import cli
from folio.commands.chat import answer_twice
from folio.inference.chat import ChatSession
from folio.runs.load import save
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.chat_template import check_messages

CTRL_C = object()


class Person(io.StringIO):
    """Lines on stdin, one after another; CTRL_C among them interrupts."""

    def __init__(self, lines):
        super().__init__()
        self.lines = list(lines)

    def readline(self, *_):
        line = self.lines.pop(0) if self.lines else ""
        if line is CTRL_C:
            raise KeyboardInterrupt
        return line and line + "\n"


@pytest.fixture
def chat(folio, finished, monkeypatch, tmp_path):
    """Runs `folio chat --compare` in an empty folder, by default the finished tiny model with itself."""
    monkeypatch.chdir(tmp_path)

    def run(*lines, model=finished, other=finished, flags=()):
        monkeypatch.setattr("sys.stdin", Person([line or " " for line in lines]))
        outcome = folio("chat", model, "--tokens", 6, *(["--compare", other] if other else []), *flags)
        assert outcome.code == 0, outcome.err
        return outcome

    return run


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """A model that knows only a few letters, and one that the other does not."""
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "words.txt").write_text("the cat ξ\n" * 300, encoding="utf-8")
    arguments = ["pretrain", "--data", str(folder / "words.txt"), "--run", str(folder / "run"), *TINY]
    assert cli.main(arguments) == 0
    return folder / "run"


def pairs(outcome):
    """What was shown as 1 and 2. The tiny model writes line ends, but none of these marks."""
    found = re.findall(r"--- 1 ---\n(.*?)\n--- 2 ---\n(.*?)\n(?=--- 1 ---|\Z)", outcome.out, re.DOTALL)
    return [list(pair) for pair in found]


def kept(path="preferences.jsonl"):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def saved(path="talk.jsonl"):
    return [record["messages"] for record in kept(path)]


def assistant(content):
    return {"role": "assistant", "content": content}


@pytest.mark.parametrize("choice", [1, 2])
def test_a_choice_is_kept_and_gone_on_with(chat, choice):
    outcome = chat("the cat", str(choice), "/save talk.jsonl")
    (shown,) = pairs(outcome)
    better, worse = shown if choice == 1 else shown[::-1]
    assert better != worse
    user = {"role": "user", "content": "the cat"}
    assert kept() == [{"prompt": "the cat", "chosen": better, "rejected": worse}]
    assert saved() == [[user, assistant(better)]]
    assert outcome.err.count("preferences.jsonl") == 1


def test_who_wrote_which_is_left_to_the_seed(chat):
    own = [chat("the cat", other=None, flags=["--seed", seed]).out.removesuffix("\n") for seed in range(12)]
    shown = [pairs(chat("the cat", "1", flags=["--seed", seed]))[0] for seed in range(12)]
    places = [pair.index(answer) for pair, answer in zip(shown, own, strict=True)]
    assert {0, 1} == set(places)
    assert pairs(chat("the cat", "1", flags=["--seed", 3]))[0] == shown[3]


@pytest.mark.parametrize("said", ["0", "", CTRL_C])
def test_for_neither_nothing_is_kept_and_the_first_is_gone_on_with(chat, tmp_path, said):
    outcome = chat("the cat", said, "/save talk.jsonl")
    assert "continues with answer 1" in outcome.err
    assert [messages[-1] for messages in saved()] == [assistant(pairs(outcome)[0][0])]
    assert not (tmp_path / "preferences.jsonl").exists()


def test_the_end_of_input_is_for_neither(chat, tmp_path):
    chat("the cat")
    assert not (tmp_path / "preferences.jsonl").exists()


def test_what_is_no_choice_is_asked_again(chat):
    outcome = chat("the cat", "3", "the first", "2")
    assert outcome.err.count("enter 1 or 2") == 2
    assert len(kept()) == 1


def test_equal_answers_are_not_asked_about(chat, tmp_path):
    outcome = chat("the cat", "a", "/save talk.jsonl", flags=["--temperature", "0"])
    assert outcome.err.count("nothing to choose") == 2
    assert "--- 1 ---" not in outcome.out
    assert [len(each) for each in saved()] == [4]
    assert not (tmp_path / "preferences.jsonl").exists()


def test_later_choices_have_the_conversation_as_their_prompt(chat):
    outcome = chat("a", "2", "on", "1", "/retry", "2", flags=["--tokens", 2])
    first, second, third = kept()
    assert second["prompt"] == third["prompt"]
    assert second["prompt"][:2] == [{"role": "user", "content": "a"}, assistant(first["chosen"])]
    assert second["chosen"] == [assistant(pairs(outcome)[1][0])]
    assert second["rejected"] == [assistant(pairs(outcome)[1][1])]
    check_messages([*second["prompt"], *second["chosen"]])


def test_the_system_turn_belongs_to_the_prompt(chat):
    chat("a", "2", flags=["--system", "no"])
    (record,) = kept()
    assert record["prompt"] == [{"role": "system", "content": "no"}, {"role": "user", "content": "a"}]
    check_messages([*record["prompt"], *record["rejected"]])


def test_a_retry_gives_two_new_answers(chat):
    first, second = pairs(chat("the cat", "0", "/retry", "0"))
    assert not set(first) & set(second)


def test_what_both_forget_is_told_once(chat):
    assert chat("the cat", "1", "a mat", "1").err.count("no longer seen") == 1


def test_models_may_have_different_tokenizers(chat, stranger):
    known = set(CharTokenizer.load(stranger / "best").characters)
    outcome = chat("the mat ξ", "1", "a cat", "2", "ξ", "me", "1", other=stranger)
    assert "never seen 'ξ'" in outcome.err
    assert "never seen 'm'" in outcome.err
    assert "nothing is left of that" in outcome.err
    first, second, third = kept()
    assert first["prompt"] == "the at "
    assert [record["prompt"][-1]["content"] for record in (second, third)] == ["a cat", "e"]
    assert set(first["chosen"] + first["rejected"]) - known  # the first wrote what the other cannot read
    assert first["chosen"] == second["prompt"][1]["content"]


def test_comparing_begins_and_ends_within_a_chat(chat, finished):
    outcome = chat(
        *("/compare", "/compare nothing", "the cat", f"/compare {finished}", "a", "1", "/compare", "on"),
        other=None,
    )
    assert "name a run to compare with" in outcome.err
    assert "nothing: no such run" in outcome.err
    assert outcome.out.count("--- 1 ---") == 1
    assert [record["prompt"][-1]["content"] for record in kept()] == ["a"]
    assert outcome.err.index("random order") < outcome.err.index("back to one answer")


class Interrupted(CharTokenizer):
    """A tokenizer. A person presses Ctrl-C when its last characters are decoded."""

    left = 0

    def decode(self, ids):
        Interrupted.left -= 1
        if Interrupted.left < 0:
            signal.raise_signal(signal.SIGINT)
        return super().decode(ids)


@pytest.mark.parametrize(("n_written", "said_by"), [(9, "both"), (3, "the first")])
def test_an_answer_that_is_broken_off_leaves_the_conversation_whole(tmp_path, capsys, n_written, said_by):
    """Of 6 tokens each. The first answer stays, as far as it came, and there is nothing to choose."""
    model, tokenizer = talkative_gpt(), Interrupted(TOKENIZER.characters)
    sessions = [ChatSession(model, tokenizer, notify=pytest.fail, max_new_tokens=6) for _ in range(2)]
    whole = ChatSession(model, TOKENIZER, notify=pytest.fail, max_new_tokens=6)
    for session in (sessions[0], whole):
        session.add_user_message("a cab")
    answer = "".join(whole.answer())
    assert len(answer) == 6
    Interrupted.left = n_written
    with pytest.raises(KeyboardInterrupt):
        answer_twice(*sessions, tmp_path / "preferences.jsonl")
    kept = answer if said_by == "both" else answer[:n_written]
    assert sessions[0].messages == [{"role": "user", "content": "a cab"}, assistant(kept)]
    assert capsys.readouterr().out.strip("\n") == kept
    assert not (tmp_path / "preferences.jsonl").exists()


@pytest.mark.parametrize("n_silent", [0, 1])
def test_where_one_says_nothing_the_question_is_taken_back(chat, tmp_path, n_silent):
    for name, model in (("silent", silent_gpt()), ("talks", talkative_gpt())):
        save(model, TOKENIZER, tmp_path / name)
    names = ("silent", "talks") if n_silent == 0 else ("talks", "silent")
    outcome = chat("a cab", "/retry", model=names[0], other=names[1])
    assert "the question is taken back" in outcome.err
    assert "there is no answer yet" in outcome.err
    assert "--- 1 ---" not in outcome.out


def test_what_cannot_be_written_is_told_and_the_chat_goes_on(chat, tmp_path):
    (tmp_path / "preferences.jsonl").mkdir()
    outcome = chat("the cat", "2", "/save talk.jsonl")
    assert "preferences.jsonl: cannot be written" in outcome.err
    assert saved()[0][-1] == assistant(pairs(outcome)[0][1])


@pytest.mark.parametrize(("columns", "side_by_side"), [(100, True), (80, True), (79, False), (40, False)])
def test_answers_stand_side_by_side_where_there_is_room(chat, monkeypatch, columns, side_by_side):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    out = chat("the cat", "1").out
    assert bool(re.search("--- 1 --- +--- 2 ---", out)) == side_by_side
    assert all(len(line) <= columns for line in out.splitlines()[1:] if "\x1b" not in line)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--save", "choices.txt"], "ends in .jsonl"),
        (["--save", "nothing/choices.jsonl"], "in an existing folder"),
    ],
)
def test_a_file_that_cannot_be_is_told_at_once(folio, finished, flags, told):
    assert told in folio("chat", finished, *flags).mistake


def test_another_model_that_is_not_there_is_told_at_once(folio, finished):
    outcome = folio("chat", finished, "--compare", "nothing")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].startswith("folio: nothing: no such run")
