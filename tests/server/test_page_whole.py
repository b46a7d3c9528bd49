"""All views of the page in a real browser: for everybody, in light and dark, on a phone, and light to load."""

import pytest
from browser import chromium, watched
from live_server import serving
from lived_runs import write_runs
from viewing import LOOKS, findings

pytestmark = pytest.mark.browser

WHOLE_PAGE = 150_000
"""Most bytes of HTML, CSS and JavaScript of all views, as transferred, headers included."""
SHOWN = {
    "/runs": ".run-list li >> nth=4",
    "/runs/words": ".plot canvas",
    "/runs/sick": ".findings li",
    "/runs?compare=words,talker": ".view > .scroll tbody tr",
    "/prefer?model=talker": ".answer:not(.waiting) >> nth=1",
    "/learn": ".lessons li >> nth=20",
    "/learn/01-bigram": ".bar-row >> nth=3",
    "/learn/04-single-head": ".weights .t >> nth=3",
    "/learn/21-fine-tuning": ".own-figure",
}
OTHER_VIEWS = {"/chat": ".composer", "/write": ".editor", "/inside": ".head-cell"}


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
        yield


@pytest.fixture(scope="module")
def shared(tmp_path_factory, finished):
    """A server of runs that no test changes."""
    folder = tmp_path_factory.mktemp("shared") / "runs"
    folder.mkdir()
    with serving(write_runs(folder, finished)) as running:
        yield running.address


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_axe_finds_nothing_and_nothing_is_too_wide(browser, shared, width, scheme):
    with watched(browser, shared, viewport={"width": width, "height": 740}, color_scheme=scheme) as (page, _):
        found, wide = {}, {}
        for path, there in SHOWN.items():
            page.goto(f"{shared}/#{path}")
            page.wait_for_selector(there)
            found[path] = findings(page)
            wide[path] = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert {path: each for path, each in found.items() if each} == {}
    assert {path: each for path, each in wide.items() if each} == {}


def test_a_view_looks_the_same_whatever_was_open_before(browser, shared):
    look = """() => [...document.querySelectorAll("main, main *")].map((each) => {
        const { font, display, maxHeight, border, margin, padding, color } = getComputedStyle(each);
        return [each.tagName, each.className, font, display, maxHeight, border, margin, padding, color].join(" ");
    })"""
    with watched(browser, shared) as (page, _):
        page.goto(f"{shared}/#/chat?model=talker")
        page.wait_for_selector(".start h2")
        before = page.evaluate(look)
        for path in ("/runs", "/learn", "/prefer?model=talker"):
            page.goto(f"{shared}/#{path}")
            page.wait_for_selector(SHOWN[path])
        page.goto(f"{shared}/#/chat?model=talker")
        page.wait_for_selector(".start h2")
        assert page.evaluate(look) == before


def test_the_whole_page_is_light(browser, shared):
    with watched(browser, shared) as (page, seen):
        for path, there in {**SHOWN, **OTHER_VIEWS}.items():
            page.goto(f"{shared}/#{path}")
            page.wait_for_selector(there)
        page.wait_for_load_state("networkidle")
    assert seen.page_bytes < WHOLE_PAGE
