"""Learn in a real browser: pages, quizzes, figures, and a rung that is predicted."""

import pytest
from browser import chromium
from live_server import serving
from lived_runs import write_runs
from viewing import opened, served

from folio.lecture.progress import Progress
from folio.lecture.quiz import Choice, Number, load_quiz
from folio.report.quiz_answers import answer_for
from folio.report.quiz_run import read_finished_run
from folio.server import processes

pytestmark = pytest.mark.browser

PAGE = "01-bigram"
QUIZ = load_quiz(PAGE)
CHOICE = next(each for each in QUIZ.questions if isinstance(each, Choice))
NUMBER = next(each for each in QUIZ.questions if isinstance(each, Number))
OWN = next(each for each in QUIZ.questions if each.needs_run)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module", autouse=True)
def progress(tmp_path_factory):
    """The user's data, apart from those of whoever runs the tests."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pooch.os_cache", lambda name: cache)
        yield Progress(cache / "quiz.json")


@pytest.fixture(scope="module")
def shared(tmp_path_factory, finished):
    """A server of runs that no test changes."""
    folder = tmp_path_factory.mktemp("shared") / "runs"
    folder.mkdir()
    with serving(write_runs(folder, finished)) as running:
        yield running.address


@pytest.fixture
def runs(tmp_path, finished):
    folder = tmp_path / "runs"
    folder.mkdir()
    return write_runs(folder, finished)


def test_pages_lead_to_each_other(browser, shared):
    with opened(browser, shared, "/learn") as (page, _):
        page.click("text=1. Bigram: predict from one character")
        page.wait_for_selector("article h1 >> text=1. Bigram")
        page.click(".onward >> text=The next page")
        page.wait_for_selector("article h1 >> text=2. Position")
        page.click("text=All pages")
        page.wait_for_selector(".lessons li >> nth=20")


def card_of(page, question):
    return page.locator(".question").filter(has_text=question.question.split("?")[0].split("`")[0][-40:])


def test_a_quiz_is_answered_with_reasons_and_what_was_missed_comes_again(browser, shared, progress):
    progress.file.unlink(missing_ok=True)
    with opened(browser, shared, f"/learn/{PAGE}") as (page, seen):
        seen.allowed = ("error: Failed to load resource",)  # for what is no answer
        card = card_of(page, CHOICE).first
        wrong = CHOICE.wrong[0]
        card.locator(".option").filter(has_text=wrong.answer).click()
        card.locator(".told >> text=/^Wrong/").wait_for()
        told = card.inner_text()
        assert CHOICE.reason in told
        assert wrong.misconception in told
        assert progress.of(PAGE)[CHOICE.id].is_missed
        page.wait_for_selector("h2 >> text=Once more")
        again = card_of(page, CHOICE).last
        again.locator(".option").filter(has_text=CHOICE.right).focus()
        page.keyboard.press("Enter")
        again.locator(".told >> text=/^Right/").wait_for()
        assert not progress.of(PAGE)[CHOICE.id].is_missed
        number = card_of(page, NUMBER).first
        number.locator("input").fill("perhaps")
        page.keyboard.press("Enter")
        number.locator(".problem").wait_for()
        number.locator("input").fill(str(NUMBER.answer))
        page.keyboard.press("Enter")
        number.locator(".told >> text=/^Right/").wait_for()
        assert "2 of 3 right" in page.locator(".quiz").inner_text()
        page.reload()
        page.wait_for_selector("summary >> text=2 that you have answered already")


def test_choices_have_keys(browser, shared, progress):
    progress.file.unlink(missing_ok=True)
    with opened(browser, shared, f"/learn/{PAGE}") as (page, _):
        card = card_of(page, CHOICE).first
        options = card.locator(".option").all_inner_texts()
        right = next(at for at, text in enumerate(options) if CHOICE.right in text)
        card.locator(".option").first.focus()
        page.keyboard.press("abcde"[right])
        card.locator(".told >> text=/^Right/").wait_for()


def test_questions_about_one_s_own_run(browser, shared, finished, progress):
    progress.file.unlink(missing_ok=True)
    with opened(browser, shared, f"/learn/{PAGE}") as (page, _):
        card = card_of(page, OWN).first
        card.locator("input").fill(str(answer_for(read_finished_run(finished), OWN.computed).value))
        page.keyboard.press("Enter")
        card.locator(".told >> text=/^Right/").wait_for()
        assert "Your vocabulary has 27 tokens" in card.inner_text()


def test_a_question_shows_what_it_is_about(browser, shared):
    with opened(browser, shared, "/learn/04-single-head") as (page, _):
        asked = page.locator(".question:has-text('this held-out line')").first
        line = asked.locator(".given").inner_text()
        place = asked.locator(".option").first.inner_text()
        assert asked.get_attribute("aria-describedby") == asked.locator(".given").get_attribute("id")
        assert place.split("'")[1].removeprefix("...") in line


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("00-text-to-batches", ".token-chip >> nth=3"),
        ("01-bigram", ".bar-row >> nth=3"),
        ("04-single-head", ".weights .t >> nth=3"),
        ("07-residual", ".lens tbody tr >> nth=2"),
    ],
)
def test_figures_run_on_the_reader_s_own_model(browser, shared, name, there):
    with opened(browser, shared, f"/learn/{name}") as (page, _):
        figure = page.locator(".own-figure").first
        figure.locator(there).wait_for()
        figure.locator("select").first.select_option("talker")
        figure.locator("textarea").fill("a bad cab")
        page.wait_for_load_state("networkidle")
        figure.locator(there).wait_for()


def test_whether_an_assistant_listens(browser, shared):
    with opened(browser, shared, "/learn/21-fine-tuning") as (page, _):
        page.get_by_label("Question 1").fill("a bad cab")
        page.get_by_label("Question 2").fill("dead bee")
        page.click("text=Ask both with the same seed")
        page.wait_for_selector(".own-figure >> text=/Two answers|The same answer/")


TRAINED = """
import json, pathlib, sys
run = pathlib.Path(sys.argv[sys.argv.index("--run") + 1])
run.mkdir()
info = {"status": "finished", "stage": "ladder", "config": {}, "runtime": {}, "plan": {}, "data_sha256": ""}
(run / "run.json").write_text(json.dumps(info))
result = {"rung": "bigram", "seed": 1, "parameters": 9, "val_loss": 2.48, "seconds": 2.0, "text": "To be"}
(run / "results.jsonl").write_text(json.dumps(result) + chr(10))
"""


def test_a_rung_is_predicted_and_only_then_trained(browser, runs, monkeypatch):
    monkeypatch.setattr(processes, "BEGIN", TRAINED)
    with served(browser, runs, f"/learn/{PAGE}") as (page, _):
        figure = page.locator(".own-figure").last
        assert figure.get_by_role("button", name="Train it now").count() == 0
        figure.locator("input").fill("2.6")
        page.keyboard.press("Enter")
        figure.get_by_role("button", name="Train it now").click()
        figure.locator(".measured").wait_for(timeout=30_000)
        assert "2.480" in figure.inner_text()
        assert "You were 0.12 off. It is better than you thought." in figure.inner_text()
        assert "To be" in figure.inner_text()
