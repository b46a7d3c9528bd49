"""Chromium on the page: a browser that tells of everything a page should not do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser while the block runs. Skips the test, in clear words, where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install playwright"
    )
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"there is no Chromium here ({', '.join(NAMES)}): apt-get install chromium")
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Seen:
    """What a page said and asked for. `allowed`: beginnings of console messages that the test expects."""

    console: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    bytes_of: dict[str, int] = field(default_factory=dict)
    """Transferred for each address, headers included and compressed as it was."""
    allowed: tuple[str, ...] = ()

    @property
    def page_bytes(self) -> int:
        """Bytes of the page's own files, without what it asked the models."""
        return sum(n for url, n in self.bytes_of.items() if url.endswith((".js", ".css", ".svg", "/")))


@contextmanager
def watched(browser: Any, address: str, **settings: Any) -> Iterator[tuple[Any, Seen]]:
    """A page of its own, without memory of others; afterwards it must have been silent and have asked nobody else.

    settings: of the browser's context, as viewport or color_scheme.
    """
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **settings})
    context.set_default_timeout(40_000)
    page, seen = context.new_page(), Seen()
    page.on("console", lambda message: seen.console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.console.append(f"error: {error}"))
    page.on("request", lambda request: seen.urls.append(request.url))
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    addresses: dict[str, str] = {}
    session.on(
        "Network.responseReceived",
        lambda event: addresses.update({event["requestId"]: event["response"]["url"]}),
    )
    session.on(
        "Network.loadingFinished",
        lambda event: seen.bytes_of.update(
            {addresses.get(event["requestId"], "?"): int(event["encodedDataLength"])}
        ),
    )
    try:
        yield page, seen
    finally:
        context.close()
    unexpected = [line for line in seen.console if not line.startswith(seen.allowed or "\0")]
    assert not unexpected, unexpected
    elsewhere = {url for url in seen.urls if not url.startswith((address, "blob:", "data:"))}
    assert elsewhere == set()
