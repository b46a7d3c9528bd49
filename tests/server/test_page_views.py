"""Chat, Write and Look inside in a real browser, against a real server of tiny models."""

import json
import re
import time

import pytest
import torch
from browser import chromium, watched
from live_server import serving, until, write_models
from tiny import instructed
from viewing import LOOKS, findings

from folio.data.conversations import read_conversations
from folio.inference.batching import Batch
from folio.inference.sampler import SampledRow, Sampler
from folio.inference.sampling import RowSampling, SamplingConfig

pytestmark = pytest.mark.browser

MESSAGE = "textarea[aria-label='Your message']"
FULL_PAGE = 150_000
"""Most bytes of HTML, CSS and JavaScript, as transferred."""
THREE_VIEWS = 75_000
"""Of the shell and these three views."""


@pytest.fixture(scope="module")
def address(tmp_path_factory, finished):
    folder = tmp_path_factory.mktemp("viewed")
    write_models(folder)
    instructed(finished, folder / "taught")
    with serving(folder) as running:
        yield running.address


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser, address):
    """A page at the address; in the end it must have been silent and have asked nobody else."""
    with watched(browser, address) as (page, seen):
        page.address, page.seen = address, seen
        yield page


@pytest.fixture
def slow(monkeypatch):
    """Models that take their time, so that an answer can be stopped."""
    step = Batch.step

    def slowly(batch):
        time.sleep(0.02)
        return step(batch)

    monkeypatch.setattr(Batch, "step", slowly)


def go(page, view, **params):
    query = "&".join(f"{key}={value}" for key, value in params.items())
    page.goto(f"{page.address}/#/{view}?{query}")
    page.wait_for_selector(f".view-{view}")
    return page


def set_number(page, label, value):
    field = page.get_by_label(label)
    field.fill(str(value))
    field.blur()


def chat(page, tokens=24):
    """Open the chat with a model that never ends by itself."""
    go(page, "chat", model="long")
    set_number(page, "Max tokens", tokens)
    return page


def open_typing(page):
    """Open the field for another text, once the first one is read: the page moves until then."""
    page.wait_for_selector(".reading .t")
    if not page.locator("details.typing").evaluate("each => each.open"):
        page.locator("summary").click()


def say(page, text):
    page.fill(MESSAGE, text)
    page.keyboard.press("Enter")


def wait_for_answer(page):
    page.wait_for_selector("[role=log][aria-busy=true], .answer .actions button")
    page.wait_for_selector("[role=log][aria-busy=false]")
    page.wait_for_selector(".answer .actions button")


def answers(page):
    return page.locator(".answer .tokens").all_inner_texts()


# Chat


def test_an_answer_streams_and_the_conversation_is_there_after_a_reload(opened):
    page = chat(opened)
    say(page, "abc")
    wait_for_answer(page)
    assert page.locator(".user .said").inner_text() == "abc"
    [answer] = answers(page)
    assert set(answer) <= set("abcdef ")
    page.reload()
    page.wait_for_selector(".answer .t")
    assert answers(page) == [answer]


def test_the_answer_is_that_of_the_api_with_its_seed(opened, address):
    page = chat(opened)
    say(page, "fed")
    wait_for_answer(page)
    seed = re.search(r"seed (\d+)", page.locator(".answer .actions").inner_text())[1]
    asked = page.evaluate(
        """async ([seed]) => (await (await fetch("/v1/chat/completions", { method: "POST",
        headers: {"Content-Type": "application/json"}, body: JSON.stringify({ model: "long", seed, temperature: 0.8,
        max_tokens: 24, messages: [{ role: "user", content: "fed" }] }) })).json()).choices[0].message.content""",
        [int(seed)],
    )
    assert page.locator(".answer .tokens").text_content() == asked


def test_stop_ends_an_answer_keeps_it_and_lets_it_go_on(opened, slow):
    page = chat(opened, tokens=450)
    say(page, "abc")
    until(lambda: page.locator(".answer .t").count() > 5)
    page.get_by_role("button", name="Stop").click()
    wait_for_answer(page)
    before = page.locator(".answer .tokens").text_content()
    stopped = page.locator(".answer .t").count()
    assert 5 < stopped < 450
    assert "stopped" in page.locator(".answer .actions").inner_text()
    page.get_by_role("button", name="Continue writing").click()
    until(lambda: page.locator(".answer .t").count() > stopped + 3)
    page.get_by_role("button", name="Stop").click()
    wait_for_answer(page)
    assert page.locator(".answer .tokens").text_content().startswith(before)


def test_retry_and_edit_keep_what_was_there(opened):
    page = chat(opened)
    say(page, "abc")
    wait_for_answer(page)
    first = answers(page)
    page.get_by_role("button", name="Retry").click()
    page.wait_for_selector("text=2/2")
    wait_for_answer(page)
    second = answers(page)
    assert second != first
    page.get_by_role("button", name="Version before").click()
    assert answers(page) == first
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Edit your message").fill("fade")
    page.keyboard.press("Enter")
    page.wait_for_selector(".user >> text=2/2")
    wait_for_answer(page)
    assert page.locator(".user .said").inner_text() == "fade"
    page.locator(".user").get_by_role("button", name="Version before").click()
    assert page.locator(".user .said").inner_text() == "abc"
    assert answers(page) == first
    page.get_by_role("button", name="Next version").last.click()
    assert answers(page) == second


def test_several_answers_stand_side_by_side_and_one_is_taken(opened):
    page = chat(opened)
    set_number(page, "Answers side by side", 3)
    say(page, "abc")
    wait_for_answer(page)
    page.wait_for_selector(".beside .answer:nth-child(3) .actions button")
    beside = answers(page)
    assert len(set(beside)) == 3
    page.get_by_role("button", name="Continue with this one").nth(1).click()
    assert answers(page) == [beside[1]]
    assert page.locator(".answer .versions").inner_text().replace("\n", "").find("2/3") >= 0
    set_number(page, "Answers side by side", 1)
    say(page, "d")
    page.wait_for_selector(".user:nth-of-type(3)")
    wait_for_answer(page)
    assert len(answers(page)) == 2


def test_a_token_opens_what_else_might_have_come_and_the_answer_goes_on_from_there(opened, address):
    page = chat(opened)
    say(page, "abc")
    wait_for_answer(page)
    before = page.locator(".answer .tokens").text_content()
    page.locator(".answer .t").nth(4).click()
    page.wait_for_selector(".bar-row")
    assert page.locator(".actual .piece").inner_text().replace("␣", " ") == before[4]
    other = page.locator(".bars li:not(.actual) .bar-row").first
    piece = other.locator(".piece").inner_text().replace("␣", " ")
    other.click()
    page.wait_for_selector("text=2/2")
    wait_for_answer(page)
    after = page.locator(".answer .tokens").text_content()
    assert after[:5] == before[:4] + piece
    assert len(after) > 5
    page.get_by_role("button", name="Version before").click()
    assert page.locator(".answer .tokens").text_content() == before


def test_what_the_model_saw_has_its_special_tokens_and_the_end_of_the_window(opened):
    page = chat(opened, tokens=200)
    page.get_by_label("System message").fill("dab")
    for text in ("a" * 150, "b" * 150):  # of 512, and 200 stay free for the answer
        say(page, text)
        page.wait_for_selector(f".said:has-text('{text}')")
        wait_for_answer(page)
    assert page.locator(".window-end").inner_text() == "The model no longer sees the messages above."
    page.get_by_role("button", name="What it saw").last.click()
    page.wait_for_selector("dialog .t")
    seen = page.locator("dialog .t").all_inner_texts()
    assert seen[:6] == ["bos", "d", "a", "b", "end", "user"]
    assert seen[6:158] == ["b"] * 150 + ["end", "assistant"]
    assert "oldest 2 messages" in page.locator("dialog").inner_text()
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_unknown_characters_are_left_out_and_named(opened):
    page = chat(opened)
    say(page, "aXb")
    wait_for_answer(page)
    assert page.locator(".user .said").inner_text() == "ab"
    assert "never seen X" in page.locator(".user .notice").inner_text()
    opened.seen.allowed = ("error: Failed to load resource",)  # a refusal, which the page tells
    say(page, "XYZ")
    page.wait_for_selector("[role=alert]:has-text('nothing is left')")


def test_a_model_that_says_nothing_is_told_of(opened):
    page = go(opened, "chat", model="silent")
    say(page, "abc")
    page.wait_for_selector("text=The model ended at once")
    assert answers(page) == []


def test_markup_from_user_and_model_is_text(opened):
    page = go(opened, "chat", model="control")
    say(page, "<>&\"'")
    wait_for_answer(page)
    assert page.locator(".user .said").inner_text() == "<>&\"'"
    assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0
    page.locator(".answer").get_by_role("button", name="Tokens").click()
    page.wait_for_selector(".answer [role=listbox]")


def test_conversations_are_saved_as_sft_reads_them(opened, tmp_path):
    page = chat(opened)
    page.get_by_label("System message").fill("dab")
    for text in ("abc", "fed"):
        say(page, text)
        page.wait_for_selector(f".said:has-text('{text}')")
        wait_for_answer(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as JSONL").click()
    download.value.save_as(tmp_path / "talk.jsonl")
    [talk] = read_conversations(tmp_path / "talk.jsonl")
    assert [message["role"] for message in talk] == ["system", "user", "assistant", "user", "assistant"]
    assert [talk[0]["content"], talk[1]["content"], talk[3]["content"]] == ["dab", "abc", "fed"]
    texts = [strip.text_content() for strip in page.locator(".answer .tokens").all()]
    assert [talk[2]["content"], talk[4]["content"]] == texts
    with page.expect_download() as download:
        page.get_by_role("button", name="Save all as JSONL").click()
    download.value.save_as(tmp_path / "all.jsonl")
    assert json.loads((tmp_path / "all.jsonl").read_text()) == {"messages": talk}


def test_an_assistant_offers_what_it_was_taught(opened):
    page = go(opened, "chat", model="taught")
    assert "capitals" in page.locator(".start").inner_text()
    assert page.locator(".starter").inner_text() == "Repeat: the cat"


def test_a_conversation_is_deleted(opened):
    page = chat(opened)
    say(page, "abc")
    wait_for_answer(page)
    page.locator(".talk-list .link").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".talk-list li", state="detached")
    page.reload()
    page.wait_for_selector(".talk-list", state="attached")
    assert answers(page) == []


PHONE = {"width": 360, "height": 740}


def test_on_a_phone_the_conversations_make_room_for_a_new_one(opened):
    page = opened
    page.set_viewport_size(PHONE)
    go(page, "chat", model="long")
    page.get_by_role("button", name="Conversations").click()
    page.get_by_role("button", name="New conversation").click()
    page.locator(".talks").wait_for(state="hidden")


def test_on_a_phone_the_token_stays_in_sight_beside_its_panel(opened):
    page = opened
    page.set_viewport_size(PHONE)
    go(page, "chat", model="long")
    page.get_by_role("button", name="Settings").click()
    set_number(page, "Max tokens", 8)
    page.get_by_role("button", name="Close").last.click()
    for _ in range(2):
        say(page, "abc")
        wait_for_answer(page)
    page.locator(".answer .t").last.click()
    page.wait_for_selector(".bar-row")
    token, panel = (page.locator(each).bounding_box() for each in (".t.chosen >> nth=0", ".panel"))
    assert token["y"] + token["height"] < panel["y"]


# Write


def test_a_text_goes_on_and_comes_back(opened):
    page = go(opened, "write", model="base")
    set_number(page, "Max tokens", 24)
    area = page.locator("textarea.front")
    area.fill("the cat Zoë 東")
    page.wait_for_selector(".back .t.s5, .back .t.s4")
    page.get_by_role("button", name="Continue", exact=True).click()
    page.wait_for_selector("button:has-text('Retry'):visible")
    first = area.input_value()
    assert first.startswith("the cat Zoë 東")
    assert len(first) > len("the cat Zoë 東")
    assert page.locator(".back").text_content().rstrip("\u200b") == first
    page.get_by_role("button", name="Retry").click()
    page.wait_for_selector("text=2/2")
    second = area.input_value()
    assert second != first
    page.get_by_role("button", name="Version before").click()
    assert area.input_value() == first
    area.focus()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert area.input_value() == "the cat Zoë 東"
    page.keyboard.press("Control+Shift+z")
    assert area.input_value() == first
    page.reload()
    page.wait_for_selector(".back .t")
    assert page.locator("textarea.front").input_value() == first


def test_the_model_may_begin(opened):
    page = go(opened, "write", model="chat")
    set_number(page, "Max tokens", 8)
    page.locator("textarea.front").focus()
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("button:has-text('Retry'):visible")
    assert page.locator("textarea.front").input_value()


def test_a_longer_text_than_the_window_goes_on_and_shows_where_it_begins(opened):
    page = go(opened, "write", model="base")
    set_number(page, "Max tokens", 100)
    page.locator("textarea.front").fill("the dog ran")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("button:has-text('Retry'):visible", timeout=30_000)
    assert page.locator(".seen").is_visible()
    assert "the model sees the last 64" in page.locator(".meter").inner_text()


def test_the_caret_says_which_token_is_looked_at(opened):
    page = go(opened, "write", model="chat")
    area = page.locator("textarea.front")
    area.fill("abcde")
    page.wait_for_selector(".back .t:nth-child(5)")
    area.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".actual .piece:text('c')")
    assert page.locator(".back .chosen").text_content() == "c"
    page.locator(".bars li:not(.actual) .bar-row:not(:has(.special))").first.click()
    page.wait_for_selector("button:has-text('Retry'):visible")
    assert area.input_value()[:2] == "ab"
    assert area.input_value()[2] != "c"


def test_several_ways_to_go_on(opened):
    page = go(opened, "write", model="long")
    page.get_by_label("Max tokens").fill("10")
    set_number(page, "Continuations side by side", 2)
    page.locator("textarea.front").fill("abc")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".way:nth-child(2) .t:nth-child(10)")
    way = page.locator(".way .tokens").nth(1).text_content()
    page.wait_for_selector("button:has-text('Continue'):visible")
    page.get_by_role("button", name="Take this one").nth(1).click()
    assert page.locator("textarea.front").input_value() == "abc" + way


# Look inside


def test_a_head_is_switched_off_and_the_loss_changes(opened):
    page = go(opened, "inside", model="chat")
    open_typing(page)
    page.get_by_label("Text", exact=True).fill("a bad cab faced a bed")
    page.get_by_role("button", name="Read it").click()
    page.wait_for_selector(".reading .t:nth-child(21)")
    assert page.locator(".head-cell").count() == 4
    whole = page.locator(".summary").inner_text()
    page.get_by_role("button", name="Layer 1, head 2").click()
    page.get_by_role("button", name="Switch this head off").click()
    page.wait_for_selector(".summary >> text=With one head off")
    changed = page.locator(".summary").inner_text()
    assert changed.startswith(whole)
    assert re.search(r"it is \d\.\d{3} \([+−]\d\.\d{3}\)", changed)
    page.get_by_role("button", name="Switch it on again").click()
    page.wait_for_selector(".summary >> text=With one head off", state="detached")
    page.get_by_role("button", name="Measure the effect of each head").click()
    until(lambda: page.locator(".change:not(:empty)").count() == 4)
    assert page.locator(".lens tbody tr").count() == 3


def test_the_same_text_through_an_earlier_checkpoint(opened):
    page = go(opened, "inside", model="taught")
    page.wait_for_selector(".reading .t")
    page.select_option("select[aria-label='Read it with']", label="taught, step 2")
    page.wait_for_selector("text=bits per character, ")
    page.wait_for_selector("[aria-label='The text as taught, step 2 reads it'] .t")
    page.select_option("select[aria-label='Read it with']", label="base")
    page.wait_for_selector("text=It has other tokens")


def test_a_text_goes_on_from_another_token_and_comes_back(opened):
    page = go(opened, "inside", model="long")
    page.wait_for_selector(".head-cell")
    before = page.locator(".reading").text_content()
    page.locator(".reading .t").nth(2).click()
    page.wait_for_selector(".actual")
    page.locator(".bars li:not(.actual) .bar-row").first.click()
    page.wait_for_selector("button:has-text('Back to the text before')")
    assert page.locator(".reading").text_content() != before
    page.get_by_role("button", name="Back to the text before").click()
    until(lambda: page.locator(".reading").text_content() == before)


SETTINGS = [
    {"temperature": 0.7},
    {"temperature": 1.6},
    {"temperature": 0.0},
    {"top_k": 3},
    {"top_p": 0.6, "temperature": 1.3},
    {"top_k": 5, "top_p": 0.8, "temperature": 0.5},
    {"min_p": 0.3},
]


def test_the_page_reshapes_a_distribution_as_the_sampler_draws(opened):
    page = opened
    page.goto(page.address)
    logits = torch.randn(12, generator=torch.Generator().manual_seed(3)) * 2
    best = logits.log_softmax(-1).sort(descending=True)
    for settings in SETTINGS:
        shaped = page.evaluate(
            """async ([logprobs, settings]) => (await import("/page/reshape.js")).reshape(logprobs, { n: 0, mass: 0 }, settings)""",
            [
                best.values.tolist(),
                {
                    "temperature": settings.get("temperature", 1),
                    "topK": settings.get("top_k", 0),
                    "topP": settings.get("top_p", 1),
                    "minP": settings.get("min_p", 0),
                },
            ],
        )
        shares = drawn_shares(logits, SamplingConfig(**settings))[best.indices].tolist()
        probabilities = shaped["probabilities"]
        assert probabilities == pytest.approx(shares, abs=0.015), settings
        assert [each > 0 for each in probabilities] == [each > 0 for each in shares], settings
        assert sum(probabilities) == pytest.approx(1), settings


def drawn_shares(logits, how, rows=200, steps=100):
    """How often the sampler draws each token, of 20,000 times."""
    seeded = [RowSampling(sampling=how, seed=seed) for seed in range(rows)]
    sampler = Sampler([SampledRow(each, [0], []) for each in seeded], len(logits), torch.device("cpu"))
    drawn = torch.cat([sampler(logits.expand(rows, -1))[0] for _ in range(steps)])
    return torch.bincount(drawn, minlength=len(logits)) / len(drawn)


# All of them


def test_everything_can_be_done_by_keyboard(opened):
    page = chat(opened, tokens=12)
    page.locator(MESSAGE).focus()
    page.keyboard.type("abc")
    page.keyboard.press("Enter")
    wait_for_answer(page)
    page.keyboard.press("Shift+Tab")
    reached = set()
    for _ in range(12):
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))
        if page.evaluate("document.activeElement.textContent") == "Tokens":
            break
        page.keyboard.press("Shift+Tab")
    assert {"What it saw", "Retry", "Tokens"} <= reached
    page.keyboard.press("Enter")  # into the tokens: one stop, in which the arrows move
    page.wait_for_selector("[role=option]:focus")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector(".answer .t:nth-child(11).chosen")
    page.wait_for_selector(".bar-row:enabled")
    assert page.locator(".answer .t[tabindex='0']").count() == 1
    page.keyboard.press("Enter")  # once more: to what might have come instead
    page.wait_for_selector(".bar-row:focus")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=2/2")
    wait_for_answer(page)


def test_turns_that_stay_keep_their_elements(opened):
    """Or a screen reader would read the whole conversation again."""
    page = chat(opened)
    say(page, "abc")
    wait_for_answer(page)
    page.evaluate("() => { for (const turn of document.querySelectorAll('.turn')) turn.isOld = true; }")
    say(page, "fed")
    page.wait_for_selector(".said:has-text('fed')")
    wait_for_answer(page)
    kept = page.evaluate("() => [...document.querySelectorAll('.turn')].map((turn) => Boolean(turn.isOld))")
    assert kept == [True, True, False, False]


def test_the_end_of_an_answer_is_announced_once_and_not_its_tokens(opened):
    page = chat(opened)
    page.evaluate(
        """() => { window.said = []; new MutationObserver(() => { const text = document.getElementById("says").textContent;
        if (text) window.said.push(text); }).observe(document.getElementById("says"), { childList: true, characterData: true, subtree: true }); }"""
    )
    say(page, "abc")
    wait_for_answer(page)
    page.wait_for_timeout(300)
    assert page.evaluate("window.said") == ["The answer is complete."]


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_axe_finds_nothing_and_nothing_is_too_wide(browser, address, width, scheme):
    with watched(browser, address, viewport={"width": width, "height": 740}, color_scheme=scheme) as (
        page,
        _,
    ):
        page.address = address
        go(page, "chat", model="long")
        say(page, "a bad cab")
        wait_for_answer(page)
        page.locator(".answer .t").first.click()
        page.wait_for_selector(".bar-row")
        found = {"chat": findings(page)}
        page.keyboard.press("Escape")
        page.get_by_role("button", name="What it saw").click()
        page.wait_for_selector("dialog .t")
        found["saw"] = findings(page)
        page.keyboard.press("Escape")
        go(page, "write", model="chat").locator("textarea.front").fill("a bad cab")
        page.wait_for_selector(".back .t:nth-child(9)")
        found["write"] = findings(page)
        go(page, "inside").wait_for_selector(".head-cell")
        page.wait_for_selector(".map")
        found["inside"] = findings(page)
        dark = page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
        too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert found == {"chat": [], "saw": [], "write": [], "inside": []}
    assert too_wide <= 0
    assert dark == (scheme == "dark")


def test_the_theme_is_switched_and_kept(opened):
    page = go(opened, "write", model="chat")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(background)
    switch = page.get_by_role("button", name="Theme: as the system")
    switch.click()
    page.get_by_role("button", name="Theme: light").click()
    page.get_by_role("button", name="Theme: dark").wait_for()
    assert page.evaluate(background) != light
    page.reload()
    page.get_by_role("button", name="Theme: dark").wait_for()
    assert page.evaluate(background) != light


def test_no_part_of_these_views_is_heavy(browser, address):
    with watched(browser, address) as (page, seen):
        page.address = address
        for view, part in (("chat", ".composer"), ("write", ".editor"), ("inside", ".head-cell")):
            go(page, view).wait_for_selector(part)
        until(lambda: f"{address}/page/lens.js" in seen.bytes_of or not page.wait_for_timeout(50))
    assert seen.page_bytes < THREE_VIEWS < FULL_PAGE


def test_a_server_that_wants_a_key_is_given_it_once(browser, tmp_path):
    write_models(tmp_path)
    with (
        serving(tmp_path, api_key="open sesame") as running,
        watched(browser, running.address) as (page, seen),
    ):
        seen.allowed = ("error: Failed to load resource",)  # the 401s, which make the page ask
        page.goto(f"{running.address}/#/chat?model=long")
        page.get_by_role("textbox", name="Key").fill("wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=does not know that key")
        page.get_by_role("textbox", name="Key").fill("open sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector(".view-chat")
        say(page, "abc")
        wait_for_answer(page)
        page.reload()
        page.wait_for_selector(".answer .t")
        assert page.evaluate("document.cookie") == ""
