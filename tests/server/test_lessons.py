"""The lecture's pages as HTML that a strict page can show."""

import re
from html.parser import HTMLParser

import pytest

from folio.errors import UserError
from folio.lecture.ladder import LADDER
from folio.server.lessons import (
    CONTENTS,
    FIGURES,
    lesson,
    lesson_names,
    link,
    parser,
    pictures,
    rung_of,
    title_of_page,
)

TAGS = {
    *("h1", "h2", "h3", "p", "ol", "ul", "li", "pre", "code", "em", "strong", "a", "span", "img", "div", "br", "blockquote"),
    *("table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
}  # fmt: skip
ATTRIBUTES = {"href", "class", "rel", "target", "title", "src", "alt", "tabindex", "role", "aria-label", "data-figure", "start"}  # fmt: skip
EMPTY = {"img", "br"}


class Strict(HTMLParser):
    """Fails on what the page must not hold, and where elements are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.sources, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS
        assert {name for name, _ in attrs} <= ATTRIBUTES
        self.links += [value for name, value in attrs if name == "href"]
        self.sources += [value for name, value in attrs if name == "src"]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in EMPTY
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(html):
    strict = Strict()
    strict.feed(html)
    strict.close()
    assert strict.open == []
    return strict


@pytest.mark.parametrize("name", [*lesson_names(), CONTENTS])
def test_every_page_is_whole_and_leads_nowhere_else(name):
    strict = read(lesson(name).html)
    assert "[[[" not in strict.text
    assert "<details" not in strict.text
    for target in strict.links:
        assert target.startswith(("#/learn", "https://"))
        page = target.removeprefix("#/learn").lstrip("/")
        assert target.startswith("https://") or page in ("", *lesson_names())
    for source in strict.sources:
        assert source.removeprefix("/page/api/lessons/pictures/") in pictures()


def test_pages_are_in_order_and_have_titles():
    assert lesson_names()[:2] == ["00-text-to-batches", "01-bigram"]
    assert lesson_names()[-1] == "glossary"
    assert title_of_page("04-single-head") == "4. Single head: self-attention"


def test_answers_are_folded_away():
    html = lesson("22-reward-model").html
    assert html.count("<details>") == html.count("</details>") == 4
    assert "<summary>What came out</summary>" in html


def test_figures_stand_where_they_belong():
    for name, (kind, before) in FIGURES.items():
        place = f'<div class="figure" data-figure="{kind}"></div><h2>{before}</h2>'
        assert place in re.sub(r"\n", "", lesson(name).html), name


def test_every_rung_has_a_page_where_it_is_predicted_before_it_is_told():
    pages = {rung_of(name): name for name in lesson_names() if rung_of(name)}
    assert set(pages) == set(LADDER)
    for name in pages.values():
        html = lesson(name).html
        assert html.index('data-figure="rung"') < html.index("What it bought")


def test_a_page_is_looked_up():
    with pytest.raises(UserError, match="no page"):
        lesson("../../recipes/README")


def test_other_html_is_text():
    html = parser().render('<script>alert(1)</script>\n\n<img src=x onerror=alert(1)> & "x"\n')
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html


def test_code_is_text():
    assert "&lt;b&gt;" in parser().render("```python\nx = '<b>' # &\n```\n")


@pytest.mark.parametrize(
    ("target", "tag", "there"),
    [
        ("01-bigram.md", "a", "#/learn/01-bigram"),
        ("README.md", "a", "#/learn"),
        ("https://example.org/x", "a", "https://example.org/x"),
        ("../../../../docs/sft.md", "span", None),
        ("javascript:alert(1)", "span", None),
    ],
)
def test_links(target, tag, there):
    found, attributes = link(target)
    assert (found, attributes.get("href")) == (tag, there)
