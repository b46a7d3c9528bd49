"""Prefer in a real browser: judged by key, blind, with undo."""

import json
import re

import pytest
from browser import chromium, watched
from live_server import serving, until
from lived_runs import QUESTIONS, write_runs
from viewing import served, text_of

from folio.data.preferences import read_preferences

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def runs(tmp_path, finished):
    folder = tmp_path / "runs"
    folder.mkdir()
    return write_runs(folder, finished)


def judged(page, key):
    """Press a key once a pair is there, and wait until it was taken."""
    page.wait_for_selector(".answer:not(.waiting) button:not([aria-disabled]) >> nth=1")
    with page.expect_response("**/page/api/preferences/*"):
        page.keyboard.press(key)


def test_pairs_are_judged_by_key_and_taken_back(browser, runs):
    file = runs / "preferences" / "talker.jsonl"
    with served(browser, runs, "/prefer?model=talker") as (page, _):
        page.wait_for_selector(".answer:not(.waiting) >> nth=1")
        assert text_of(page, ".asked") in QUESTIONS
        left = text_of(page, ".answer .text")
        judged(page, "1")
        until(lambda: len(read_preferences(file)) == 1)
        assert read_preferences(file)[0].chosen.strip() == left.strip()
        for key in ("ArrowRight", "0", "9", "ArrowUp", "s"):
            judged(page, key)
        page.wait_for_selector(".numbers >> text=1 left, 1 right, 1 tie, 2 both bad, 1 skipped")
        for _ in range(6):
            judged(page, "u")
        page.wait_for_selector(".numbers h2 >> text=0 pairs")
        assert file.read_text() == ""
        assert page.get_by_role("button", name="Undo").is_disabled()
        assert text_of(page, ".answer .text") == left, "the first pair is there again"


def test_answers_are_hidden_until_both_are_there(browser, runs):
    with serving(runs) as running, watched(browser, running.address) as (page, _):
        held = []
        page.route(
            "**/v1/chat/completions",
            lambda route: held.append(route) if len(held) == 0 else route.continue_(),
        )
        page.goto(f"{running.address}/#/prefer?model=talker")
        until(lambda: bool(held) or not page.wait_for_timeout(50))
        page.wait_for_timeout(1000)
        assert page.locator(".answer .text").all_inner_texts() == ["Writing…", "Writing…"]
        page.keyboard.press("1")
        held[0].continue_()
        page.wait_for_selector(".answer:not(.waiting) >> nth=1")
        assert not (runs / "preferences").exists(), "what was not shown cannot be judged"


def test_before_and_after_is_blind_until_it_is_judged(browser, runs):
    with served(browser, runs, "/prefer?model=talker") as (page, _):
        page.click("text=Before and after better")
        for _ in range(2):
            page.wait_for_selector(".answer:not(.waiting) >> nth=1")
            shown = page.locator(".pair").inner_text()
            assert not re.search(
                r"\b(talker|better)\b(?! *\d)", shown.split("Tie")[0].replace("is better", "")
            )
            judged(page, "2")
            page.wait_for_selector(".verdicts + p >> text=/Left was (talker|better), right (talker|better)/")
        page.wait_for_selector(".numbers >> text=/Of 2 pairs with talker/")
        records = [
            json.loads(line) for line in (runs / "preferences" / "talker.judgements").read_text().splitlines()
        ]
        assert {each["left"]["model"] for each in records} | {each["right"]["model"] for each in records} == {
            "talker",
            "better",
        }


def test_what_reinforcement_learning_made_leads_to_what_it_began_with(browser, runs):
    with served(browser, runs, "/prefer?model=better") as (page, _):
        page.wait_for_selector(".answer:not(.waiting) >> nth=1")
        head = page.locator(".view > .row").inner_text().replace("better", "").replace("talker", "")
        assert not re.search(r"\d", head), "a count is no control"
        page.get_by_role("button", name="Compare with talker, which it began with").click()
        page.wait_for_selector(".answer:not(.waiting) >> nth=1")
        assert page.get_by_label("Before and after better").is_checked()
        assert page.get_by_label("Model whose answers are judged").input_value() == "talker"


def test_one_pair_in_ten_comes_again(browser, runs):
    with served(browser, runs, "/prefer?model=talker") as (page, _):
        asked = []
        for _ in range(10):
            page.wait_for_selector(".answer:not(.waiting) >> nth=1")
            texts = page.locator(".answer .text").all_inner_texts()
            asked.append((text_of(page, ".asked"), *sorted(texts)))
            judged(page, "1")
        assert asked[9] in asked[:5]
        page.wait_for_selector(".numbers >> text=/[01] of 1 pairs that came again/")


def test_a_question_of_one_s_own(browser, runs):
    with served(browser, runs, "/prefer?model=talker") as (page, _):
        page.wait_for_selector(".answer:not(.waiting) >> nth=1")
        page.get_by_label("Or ask something of your own").fill("a cafe 1")
        page.keyboard.press("Enter")  # the 1 that was typed judged nothing
        page.wait_for_selector(".pair .notice >> text=never seen 1")
        judged(page, "ArrowLeft")
        judgements = (runs / "preferences" / "talker.judgements").read_text().splitlines()
        assert [json.loads(line)["prompt"] for line in judgements] == ["a cafe "]
