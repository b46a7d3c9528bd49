"""A browser on the views of runs, preferences and the lecture."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import Seen, watched
from live_server import serving

LOOKS = ((1280, "light"), (360, "dark"))
"""Width and scheme: every layout and every color once. No color depends on the width, nor any layout on the scheme."""


@contextmanager
def opened(browser: Any, address: str, path: str, **settings: Any) -> Iterator[tuple[Any, Seen]]:
    """The page of a server at a path, as /runs; afterwards it must have been silent and have asked nobody else."""
    with watched(browser, address, **settings) as (page, seen):
        page.goto(f"{address}/#{path}")
        page.wait_for_selector(".view")
        yield page, seen


@contextmanager
def served(browser: Any, folder: Path, path: str, **settings: Any) -> Iterator[tuple[Any, Seen]]:
    """The same, of a server of its own for a folder."""
    with serving(folder) as running, opened(browser, running.address, path, **settings) as (page, seen):
        yield page, seen


def text_of(page: Any, selector: str) -> str:
    """The text of the first element."""
    return page.locator(selector).first.inner_text()


def findings(page: Any) -> list[str]:
    """What axe finds."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        f"{each['id']} {each['nodes'][0]['target']}: {each['nodes'][0]['failureSummary']}"
        for each in Axe().run(page).response["violations"]
    ]
