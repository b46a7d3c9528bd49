"""Runs in a real browser: lists, curves, samples, and the start of one, against a real server."""

import re

import pytest
from browser import chromium, watched
from live_server import serving, until
from lived_runs import write_runs
from tiny import make_text
from viewing import opened, served, text_of

from folio.files import append_line
from folio.runs.directory import RunDirectory

pytestmark = pytest.mark.browser

LONG = 180_000
"""Milliseconds for a real training to begin on a busy machine."""
RECORD = {"tokens": 64, "train_seconds": 0.5, "loss": 2.5}


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


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


def test_all_runs_are_listed_and_lead_to_their_pages(browser, shared):
    with opened(browser, shared, "/runs") as (page, _):
        page.wait_for_selector(".run-list li >> nth=4")
        told = text_of(page, ".run-list")
        for words in ("words", "deep/ppo", "pretrain", "finished", "validation loss"):
            assert words in told
        page.click(".run-list a >> text=deep/ppo")
        page.wait_for_selector("h1 >> text=deep/ppo")
        page.go_back()
        page.wait_for_selector(".run-list")


def test_a_run_is_told_in_words_curves_and_a_table(browser, shared):
    with opened(browser, shared, "/runs/words") as (page, _):
        page.wait_for_selector(".plot canvas")
        assert "step 20 of 20" in text_of(page, ".now")
        summary = text_of(page, ".chart p")
        assert re.search(r"Training loss went from 3\.\d+ to [23]\.\d+ in 20 steps", summary)
        assert "lowest at step 20" in summary
        page.click(".chart summary")
        assert page.locator(".chart tbody tr").count() == 10
        page.focus(".plot")
        page.keyboard.press("End")
        assert text_of(page, ".readout").startswith("step 20: training, each step")
        page.keyboard.press("ArrowLeft")
        assert text_of(page, ".readout").startswith("step 19:")
        page.keyboard.press("Home")
        assert text_of(page, ".readout").startswith("step 1:")
        page.click("text=All other curves")
        page.get_by_label("Curve", exact=True).select_option("gradient_norm")
        page.wait_for_selector("details .chart p >> text=/^gradient norm went from/")


def test_samples_follow_the_slider(browser, shared):
    with opened(browser, shared, "/runs/talker") as (page, _):
        page.wait_for_selector(".sample")
        slider = page.get_by_label("Step", exact=True)
        assert text_of(page, ".sample .text") == "fed 20"
        slider.focus()
        page.keyboard.press("ArrowLeft")
        assert text_of(page, ".sample .text") == "fed 10"
        assert slider.get_attribute("aria-valuetext") == "10, validation loss 1.9"


def test_a_prompt_of_one_s_own_at_every_checkpoint(browser, shared):
    with opened(browser, shared, "/runs/talker") as (page, _):
        page.get_by_label("Your own prompt").fill("a bad cab")
        page.click("text=At every checkpoint")
        page.wait_for_selector("button >> text=2 of 2", timeout=60_000)
        own = page.locator(".samples + .sample")
        newest = own.inner_text()
        page.get_by_label("Step", exact=True).focus()
        page.keyboard.press("ArrowLeft")
        assert "a bad cab" in newest
        assert own.inner_text() != newest, "another model wrote the same"


def test_what_the_rewards_did(browser, shared):
    with opened(browser, shared, "/runs/deep/ppo") as (page, _):
        page.wait_for_selector(".panels canvas >> nth=9")
        assert "No problems found in the metrics. Reward from" in page.locator(".view").inner_text()
        assert page.locator(".panels .chart").count() == page.locator(".panels canvas").count()
        page.goto(f"{shared}/#/runs/sick")
        page.wait_for_selector(".findings li")
        assert "The entropy has collapsed" in text_of(page, ".findings")
        assert "Do: " in text_of(page, ".findings")


def test_a_reward_model_is_not_asked_to_write(browser, shared):
    with opened(browser, shared, "/runs/judge") as (page, _):
        page.wait_for_selector("h2 >> text=How it scored")
        assert text_of(page, ".sample .prompt") == "user: a cab\nassistant: bad\nuser: fed"
        assert "nats per pair" in text_of(page, ".chart h3")
        assert page.get_by_label("Your own prompt").is_hidden()


def test_runs_are_compared_with_the_keyboard_alone(browser, shared):
    with opened(browser, shared, "/runs") as (page, _):
        page.wait_for_selector(".run-list li >> nth=4")
        for name in ("words", "talker"):
            page.get_by_label(f"Compare {name}", exact=True).focus()
            page.keyboard.press("Space")
        page.get_by_role("button", name="Compare 2").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(".plot canvas")
        assert text_of(page, ".chart h3") == "validation loss"
        rows = page.locator(".view > .scroll tbody tr")
        assert rows.count() == 2
        page.get_by_label("Metric").select_option("loss")
        page.wait_for_selector(".chart h3 >> text=training loss")


def test_a_run_is_followed_while_it_trains(browser, runs):
    run = RunDirectory(runs / "words")
    run.set_status("running", plan={**run.read_info()["plan"], "steps": 40})
    with run.owned(), served(browser, runs, "/runs/words") as (page, _):
        page.wait_for_selector(".now >> text=step 20 of 40")
        assert page.locator(".status.running").count() == 1
        assert "left" in text_of(page, ".now")
        for step in range(21, 31):
            append_line(run.metrics_file, {"step": step, **RECORD, "train_seconds": 0.1 * step})
        page.wait_for_selector(".now >> text=step 30 of 40")
        page.wait_for_selector(".chart p >> text=in 30 steps")
        append_line(run.samples_file, {"step": 30, "prompt": "", "text": "new words"})
        page.wait_for_selector(".sample >> text=new words")


def test_a_run_whose_process_is_gone_is_told_from_a_slow_one(browser, runs):
    run = RunDirectory(runs / "words")
    run.set_status("running")
    with served(browser, runs, "/runs/words") as (page, _):
        page.wait_for_selector(".status.killed")
        assert "Its process is gone" in page.locator(".view").inner_text()
        assert "--resume" in page.locator(".view").inner_text()


def test_nothing_is_asked_while_the_tab_is_hidden(browser, runs):
    run = RunDirectory(runs / "words")
    run.set_status("running")
    with run.owned(), served(browser, runs, "/runs/words") as (page, seen):
        page.wait_for_selector(".status.running")
        hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true}); document.dispatchEvent(new Event('visibilitychange'))"
        page.evaluate(hide % "true")
        page.wait_for_timeout(300)  # one that was on its way may still come
        asked = len(seen.urls)
        page.wait_for_timeout(2500)  # it would ask every 2 s
        assert len(seen.urls) == asked
        page.evaluate(hide % "false")
        until(lambda: len(seen.urls) > asked or not page.wait_for_timeout(50))


DROP = """(text) => {
    const data = new DataTransfer();
    data.items.add(new File([text], "My Cats.txt", { type: "text/plain" }));
    return data;
}"""


def test_from_a_dropped_file_to_a_live_run_that_is_stopped_and_gone_on_with(browser, runs):
    with served(browser, runs, "/runs") as (page, _):
        page.wait_for_selector(".drop")
        page.dispatch_event(".drop", "drop", {"dataTransfer": page.evaluate_handle(DROP, make_text(4000))})
        page.wait_for_selector("h2 >> text=my-cats")
        page.get_by_label("Minutes in all").fill("0")
        page.keyboard.press("Tab")
        assert page.get_by_role("button", name="Start").is_disabled()
        page.get_by_label("Minutes in all").fill("9")
        page.keyboard.press("Tab")
        page.wait_for_selector(".plan dd", timeout=LONG)
        plan = page.locator(".card.stack").inner_text()
        for words in ("M parameters", "What to expect", "9:00 for all of them", "fine-tuning: learns to do"):
            assert words in plan
        page.get_by_role("button", name="Start").click()
        page.wait_for_selector(".card.now:focus", timeout=LONG)  # in sight, and where the keyboard goes on
        page.wait_for_selector(".card.now a", timeout=LONG)  # its first run is there
        page.click(".card.now a")
        page.wait_for_selector(".plot canvas", timeout=LONG)
        page.wait_for_selector(".now >> text=/step [1-9]/", timeout=LONG)
        page.wait_for_selector("button >> text=Write with it while it learns", timeout=LONG)
        page.get_by_role("button", name="Stop and save").click()
        page.wait_for_selector(".status.interrupted", timeout=LONG)
        run = RunDirectory(runs / "my-cats")
        step = run.read_metrics()[-1]["step"]
        assert max(run.models()) in (
            step,
            step + 1,
        )  # a step that was saved is recorded when the run is resumed
        page.goto(page.url.split("#")[0] + "#/runs")
        page.wait_for_selector(".card.now >> text=Stopped: my-cats")
        page.get_by_role("button", name="Resume").click()
        page.wait_for_selector(".card.now >> text=Training my-cats")
        until(
            lambda: run.read_metrics()[-1]["step"] > step or not page.wait_for_timeout(200),
            seconds=LONG / 1000,
        )
        page.get_by_role("button", name="Stop and save").click()
        page.wait_for_selector(".card.now >> text=Stopped: my-cats", timeout=LONG)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff\xfe\x00a", "not plain text in UTF-8"), (b"aaaa", "my-cats"), (b"", "my-cats")],
)
def test_a_file_that_is_no_text_is_refused_in_words(browser, shared, content, words):
    with opened(browser, shared, "/runs") as (page, seen):
        seen.allowed = ("error: Failed to load resource",)
        page.wait_for_selector(".drop")
        file = {"name": "my-cats", "mimeType": "text/plain", "buffer": content}
        page.set_input_files(".drop input", file)
        page.wait_for_selector(".problem")
        assert words in text_of(page, ".problem")


def test_where_others_can_reach_the_server_nothing_is_started(browser, runs):
    with (
        serving(runs, host="0.0.0.0", api_key="k" * 20) as running,
        watched(browser, running.address) as (page, _),
    ):
        page.set_extra_http_headers({"Authorization": "Bearer " + "k" * 20})
        page.goto(f"{running.address}/#/runs")
        page.wait_for_selector(".notice >> text=--allow-training")
        assert page.locator(".drop").count() == 0


def test_text_of_models_and_people_is_never_html(browser, runs):
    run = RunDirectory(runs / "words")
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    append_line(run.samples_file, {"step": 20, "prompt": evil, "text": evil + " more"})
    run.write_info({**run.read_info(), "data": evil, "hardware": evil})
    with served(browser, runs, "/runs/words") as (page, _):
        page.wait_for_selector(".sample >> text=onerror")
        assert page.locator("main img, main script").count() == 0
