"""The pages of the lecture as HTML. It is made of our own pages only, and holds no style and no script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from folio.errors import UserError
from folio.lecture.ladder import LADDER
from folio.lecture.quiz import PAGES

FIGURES = {
    "00-text-to-batches": ("tokens", "Windows and batches"),
    "01-bigram": ("next", "The shapes"),
    "04-single-head": ("attention", "The shapes"),
    "05-multi-head": ("attention", "The shapes"),
    "07-residual": ("lens", "The shapes"),
    "16-to-chatgpt": ("listen", "What a chat model knows, and what it does not"),
    "18-sampling": ("next", "In folio"),
    "19-bpe": ("tokens", "Step by step"),
    "21-fine-tuning": ("listen", "Tasks that cannot be guessed"),
}
"""Pages with a figure that runs on the reader's own model: its kind, and the heading that it stands before."""
RUNG_HEADING = "What it bought"
"""On the page of a rung, what the reader predicts and trains stands before this."""
OPEN_DETAILS = re.compile(r"<details><summary>(.*)</summary>\s*")
NOT_SHOWN = re.compile(
    r"^(```.*?^```$)|<!--.*?-->|(^<details><summary>.*?</summary>)", re.DOTALL | re.MULTILINE
)
"""A block of code, which stays as it is; a comment; or the beginning of what is folded away, maybe over several lines."""
LINK = re.compile(r"([a-z0-9-]+)\.md", re.IGNORECASE)
CONTENTS = "README"
"""The page of contents."""


@dataclass(frozen=True)
class Lesson:
    """A page. name: of its file, as in 01-bigram. rung: what `folio ladder` trains for it, or None."""

    name: str
    title: str
    html: str
    rung: str | None


def lesson_names() -> list[str]:
    """Return the names of all pages in their order, the glossary last and without the contents."""
    return sorted(path.stem for path in PAGES.glob("*.md") if path.stem != CONTENTS)


def pictures() -> dict[str, bytes]:
    """Return the pictures of the pages by the names of their files."""
    return {path.name: path.read_bytes() for path in sorted(PAGES.glob("*.png"))}


@lru_cache(maxsize=64)
def lesson(name: str) -> Lesson:
    """Return a page by the name of its file. Raises UserError for another one."""
    if name not in (*lesson_names(), CONTENTS):
        raise UserError(f"there is no page {name[:80]!r} in the lecture.")
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    tokens = parser().parse(NOT_SHOWN.sub(shown, text))
    rung = rung_of(name)
    kind, before = FIGURES.get(name, ("", ""))
    if kind:
        tokens = with_figure(tokens, kind, before)
    if rung:
        tokens = with_figure(tokens, "rung", RUNG_HEADING)
    markdown = parser()
    return Lesson(name, title_of(tokens), markdown.renderer.render(tokens, markdown.options, {}), rung)


def shown(found: re.Match[str]) -> str:
    """Return what stands for a match of NOT_SHOWN: nothing for a comment, one line for the beginning of details."""
    return found[1] or " ".join((found[2] or "").split("\n"))


def rung_of(name: str) -> str | None:
    """Return the rung that a page is about, or None."""
    rung = name.partition("-")[2].replace("-", "_")
    return rung if rung in LADDER else None


def title_of_page(name: str) -> str:
    """Return the title of a page."""
    return lesson(name).title


def title_of(tokens: Sequence[Token]) -> str:
    """Return the text of the first heading."""
    at = next((n for n, token in enumerate(tokens) if token.type == "heading_open"), None)
    return "" if at is None else plain(tokens[at + 1])


def plain(inline: Token) -> str:
    """Return the text of an inline token."""
    return "".join(child.content for child in inline.children or ())


def with_figure(tokens: list[Token], kind: str, before: str) -> list[Token]:
    """Return tokens with the place of a figure before a heading; at the end where there is no such heading."""
    at = next(
        (
            n
            for n, token in enumerate(tokens)
            if token.type == "heading_open" and plain(tokens[n + 1]) == before
        ),
        len(tokens),
    )
    place = Token("figure_place", "div", 0, content=kind, block=True)
    return [*tokens[:at], place, *tokens[at:]]


def parser() -> MarkdownIt:
    """Return what parses the pages: CommonMark with tables, and of HTML only details, summary and comments."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.block.ruler.before("paragraph", "details", details, {"alt": ["paragraph"]})
    markdown.core.ruler.push("page", adapt)
    for name, rule in (
        ("table_open", open_table),
        ("table_close", close_table),
        ("fence", code),
        ("code_block", code),
        ("figure_place", figure_place),
    ):
        markdown.add_render_rule(name, rule)
    return markdown


def details(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Take a line that opens or closes what is folded away. A rule of markdown-it."""
    line = state.getLines(start, start + 1, state.blkIndent, False).rstrip()
    opening = OPEN_DETAILS.fullmatch(line)
    if not opening and line != "</details>":
        return False
    if silent:
        return True
    state.line = start + 1
    if opening:
        state.push("details_open", "details", 1).block = True
        state.push("summary_open", "summary", 1)
        inline = state.push("inline", "", 0)
        inline.content, inline.children, inline.map = opening[1], [], [start, start + 1]
        state.push("summary_close", "summary", -1)
    else:
        state.push("details_close", "details", -1).block = True
    return True


def adapt(state: StateCore) -> None:
    """Make links, pictures and cells fit the page: no style, and no address that leads nowhere. A rule of markdown-it."""
    for token in state.tokens:
        if token.type in ("th_open", "td_open") and "style" in token.attrs:
            token.attrs = {"class": str(token.attrs["style"]).partition(":")[2]}
        closings: list[str] = []
        for child in token.children or ():
            if child.type == "link_open":
                child.tag, child.attrs = link(str(child.attrs.get("href", "")))
                closings.append(child.tag)
            elif child.type == "link_close":
                child.tag = closings.pop()
            elif child.type == "image":
                child.attrs["src"] = f"/page/api/lessons/pictures/{child.attrs['src']}"


def link(target: str) -> tuple[str, dict[str, str | int | float]]:
    """Return the tag and the attributes for a link: within the lecture, to elsewhere, or to a page that is not here."""
    page = LINK.fullmatch(target)
    if page:
        return "a", {"href": "#/learn" if page[1] == CONTENTS else f"#/learn/{page[1]}"}
    if target.startswith("https://"):
        return "a", {"href": target, "rel": "noreferrer noopener", "target": "_blank"}
    return "span", {"class": "elsewhere", "title": f"in folio's repository: {target.replace('../', '')}"}


def open_table(
    renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
) -> str:
    """Open a table in a box that can be scrolled, with the keyboard too."""
    return '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>\n'


def close_table(
    renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
) -> str:
    """Close it."""
    return "</table></div>\n"


def figure_place(
    renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
) -> str:
    """Return the place of a figure, which the page fills."""
    return f'<div class="figure" data-figure="{tokens[at].content}"></div>\n'


def code(renderer: Any, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
    """Return a block of code that can be scrolled with the keyboard."""
    kind = "code" if tokens[at].info else "shown"
    return f'<pre class="{kind}" tabindex="0"><code>{escaped(tokens[at].content)}</code></pre>\n'


def escaped(text: str) -> str:
    """Return a text as HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
