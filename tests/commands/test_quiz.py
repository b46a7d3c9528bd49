"""`folio quiz`: what is asked, what is kept, and how it ends."""

import io
import json
import shutil
import subprocess
import sys

import pytest
from interrupting import ctrl_c_at
from terminals import in_terminal

from folio.lecture.progress import Progress, Tries
from folio.lecture.quiz import Choice, load_quiz, page_names
from folio.report.quiz_answers import answer_for
from folio.report.quiz_run import find_stage

PAGE = "01-bigram"
QUIZ = load_quiz(PAGE)
OWN = sum(question.needs_run for question in QUIZ.questions)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of the user's data; and no runs in the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def progress(cache):
    return Progress(cache / "quiz.json")


@pytest.fixture
def quiz(folio, monkeypatch):
    """Runs `folio quiz` with these lines on stdin."""

    def run(*arguments, lines=()):
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(line + "\n" for line in lines)))
        return folio("quiz", *arguments)

    return run


def right_answer(question, tries=0, run=None):
    """What to type for the right answer, when a question was answered so often."""
    asked = question.ask(lambda name: answer_for(find_stage(run, question.stage), name), str(tries))
    if asked.options:
        return "abcde"[[asked.judge(letter).is_right for letter in "abcde"[: len(asked.options)]].index(True)]
    return str(asked.value)


def wrong_answer(question, tries=0):
    if isinstance(question, Choice):
        return "b" if right_answer(question, tries) == "a" else "a"
    return "-1"


def asked(outcome):
    """The ids of the questions that were asked, in order."""
    text = " ".join(outcome.out.split())
    found = {question.id: text.find(" ".join(question.question.split())) for question in QUIZ.questions}
    return sorted((name for name, at in found.items() if at >= 0), key=found.__getitem__)


def test_all_right(quiz, finished, progress):
    lines = [right_answer(question, run=finished) for question in QUIZ.questions]
    outcome = quiz("1", "--run", finished, lines=lines)
    assert (outcome.code, outcome.err) == (0, "")
    assert asked(outcome) == [question.id for question in QUIZ.questions]
    assert outcome.out.count("Right") == len(QUIZ.questions)
    assert outcome.out.endswith(f"{len(QUIZ.questions)} of {len(QUIZ.questions)} right.\n")
    assert set(progress.of(PAGE)) == {question.id for question in QUIZ.questions}


def test_a_wrong_answer_gets_its_reason_and_one_try(quiz, progress):
    first = QUIZ.questions[0]
    outcome = quiz("bigram", lines=[wrong_answer(first), right_answer(first)])
    words = " ".join(outcome.out.split())
    assert any(f"No. {wrong.misconception} The answer is" in words for wrong in first.wrong)
    assert first.reason in words
    assert progress.of(PAGE)[first.id] == Tries(answered=1, right=0, is_missed=True)


def test_what_was_missed_comes_first_the_next_time(quiz, progress):
    first, second, third = QUIZ.questions[:3]
    outcome = quiz("1", lines=[right_answer(first), wrong_answer(second)])
    assert "1 of 2 right." in outcome.out
    assert "What you missed comes first the next time: folio quiz bigram" in outcome.out
    assert "1 question left" in outcome.out
    outcome = quiz("1", lines=[right_answer(second, tries=1)])
    assert asked(outcome) == [second.id, third.id]  # and then the input ends
    assert progress.of(PAGE)[second.id] == Tries(answered=2, right=1, is_missed=False)
    outcome = quiz("1", lines=[])
    assert asked(outcome) == [third.id]
    third_right = right_answer(third)
    assert asked(quiz("1", lines=[third_right, right_answer(first, 1)])) == [third.id, first.id, second.id]


def test_what_is_no_answer_is_asked_again(quiz, progress):
    first = QUIZ.questions[0]
    outcome = quiz("1", lines=["", "perhaps", right_answer(first)])
    assert outcome.err.count("folio: type a, b or c; Ctrl-D ends the quiz.") == 2
    assert progress.of(PAGE)[first.id].right == 1


def test_without_a_run_the_questions_about_it_are_left_out(quiz):
    outcome = quiz("1")
    assert outcome.code == 0
    assert f"1 of {len(QUIZ.questions) - OWN}\n" in outcome.out
    assert f"folio: {OWN} questions are left out, about a run of your own. " in outcome.err
    assert "`folio pretrain shakespeare` makes one." in outcome.err
    assert outcome.err.count("\n") == 1


def test_the_run_of_the_lecture_is_found_by_itself(quiz, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "runs" / "shakespeare")
    outcome = quiz("1")
    assert outcome.err == ""
    assert f"1 of {len(QUIZ.questions)}\n" in outcome.out


@pytest.mark.parametrize("page", page_names())
def test_every_question_can_be_asked_about_tiny_runs(quiz, chain, page):
    lines = [right_answer(question, run=chain) for question in load_quiz(page).questions]
    outcome = quiz(page, "--run", chain, lines=lines)
    assert outcome.err == ""
    assert outcome.out.endswith(f"{len(lines)} of {len(lines)} right.\n")


def test_what_a_question_is_about_is_shown(quiz, chain):
    outcome = quiz("fine-tuning", "--run", chain.with_name("run-sft"))
    assert outcome.err == ""
    lines = [right_answer(question, run=chain) for question in load_quiz("21-fine-tuning").questions]
    outcome = quiz("fine-tuning", "--run", chain, lines=lines)
    assert "\nuser: " in outcome.out
    assert "\nassistant: " in outcome.out


def test_questions_about_a_stage_that_was_not_run_are_left_out(quiz, finished):
    outcome = quiz("reward-model", "--run", finished)
    assert outcome.code == 0
    about = "folio: 2 questions are left out, about a run of your own. "
    assert outcome.err.startswith(f"{about}{finished}-label: no such run. `folio run shakespeare` makes one")
    assert outcome.err.count("\n") == 1


def test_mistakes_are_one_line(quiz, tmp_path):
    assert quiz("bigrm").mistake == "folio: unknown page 'bigrm'. Did you mean bigram?"
    assert "Pages: text-to-batches, bigram, position," in quiz("zzz").mistake
    assert "nowhere: no such run." in quiz("1", "--run", "nowhere").mistake
    assert "unknown flag --runs" in quiz("1", "--runs", "x").mistake


def test_damaged_progress_is_told_and_nothing_is_lost(quiz, progress):
    progress.file.parent.mkdir()
    progress.file.write_text("{")
    assert "quiz.json cannot be read" in quiz("1").mistake
    assert "quiz.json cannot be read" in quiz().mistake
    assert progress.file.read_text() == "{"


def test_where_nothing_can_be_written_the_quiz_goes_on(quiz, cache):
    cache.write_text("a file where the folder should be")
    outcome = quiz("1", lines=[right_answer(question) for question in QUIZ.questions[:2]])
    assert outcome.code == 0
    assert "2 of 2 right." in outcome.out
    assert "cannot be written" in outcome.err
    assert "not kept" in outcome.err


def test_without_a_page_all_are_listed_with_their_progress(quiz, progress, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    progress.add(PAGE, QUIZ.questions[0].id, True)
    progress.add(PAGE, QUIZ.questions[1].id, False)
    progress.add(PAGE, "of-an-older-folio", False)
    outcome = quiz()
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    told = " ".join(outcome.out.split())
    assert told.startswith(
        f"0 text-to-batches not begun 1 bigram 1 of {len(QUIZ.questions)} right, 1 missed 2 position not"
    )
    assert "15 muon not begun" in told
    assert max(map(len, lines)) <= 40
    assert lines[-1] == "  folio quiz text-to-batches"
    for question in load_quiz("00-text-to-batches").questions:
        progress.add("00-text-to-batches", question.id, True)
    for question in QUIZ.questions:
        progress.add(PAGE, question.id, True)
    assert quiz().out.endswith("  folio quiz position\n")


def test_forty_columns_are_enough(quiz, finished, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    outcome = quiz("1", "--run", finished, lines=[wrong_answer(question) for question in QUIZ.questions])
    assert max(map(len, outcome.out.splitlines())) <= 40
    assert "…" not in outcome.out


def test_ctrl_c_keeps_what_was_answered(quiz, progress):
    first, second = QUIZ.questions[:2]
    with ctrl_c_at("2 of "):
        outcome = quiz("1", lines=[right_answer(first), right_answer(second)])
    assert outcome.code == 130
    assert "Interrupted. 1 answer of this quiz is kept. Go on with: folio quiz bigram" in outcome.err
    assert list(progress.of(PAGE)) == [first.id]


def test_in_a_terminal_ctrl_d_and_ctrl_c_end_it(tmp_path):
    arguments = ("-m", "folio", "quiz", "1")
    with in_terminal(*arguments, columns=40, XDG_CACHE_HOME=str(tmp_path)) as terminal:
        terminal.wait_for("> ")
        terminal.type(right_answer(QUIZ.questions[0]) + "\n")
        terminal.wait_for("Right.")
        terminal.wait_for("> ")
        terminal.type("\x04")
        assert terminal.wait_for_end() == 0
        assert "1 of 1 right." in terminal.shown
    with in_terminal(*arguments, columns=40, XDG_CACHE_HOME=str(tmp_path)) as terminal:
        terminal.wait_for("> ")
        terminal.interrupt("Interrupted. 0 answers")
        assert terminal.wait_for_end() == 130
    (file,) = tmp_path.rglob("quiz.json")
    assert list(json.loads(file.read_text())["pages"][PAGE]) == [QUIZ.questions[0].id]


def test_bytes_that_are_no_text_are_no_answer(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "folio", "quiz", "2"],
        check=False,
        input=b"\xff\n",
        capture_output=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert b"type a, b or c" in done.stderr


def test_torch_is_not_imported(tmp_path):
    script = "import sys; from folio import cli; cli.main(['quiz']); assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "bigram" in done.stdout
