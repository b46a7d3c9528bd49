"""Print readings of a text, in colors where the terminal has them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rich.bar import Bar
from rich.cells import cell_len
from rich.color import Color, blend_rgb
from rich.color_triplet import ColorTriplet
from rich.console import Console, Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from folio.report.reading import (
    CALM_TO_RED,
    DARK_TO_BRIGHT,
    MAP_POSITIONS,
    MAX_NATS,
    Reading,
    Stops,
    longest_bar,
    percent,
    rows_of,
)

GAP = 4
"""Columns between two readings."""
MIN_WIDTH = 46
"""Columns that a reading needs beside another."""
MAX_WIDTH = 100
"""Columns of a reading, as longer lines are hard to read."""
MAX_BAR_WIDTH = 60
N_SURPRISES = 5
CONTEXT = 10
"""Characters shown before a surprising one."""
SHADES = "·░▒▓█"
LEVELS = (0.0, 0.04, 0.16, 0.36, 0.64)
"""Lowest attention weight of each shade; squares, as most weights are small."""
DIM, BOLD = Style(dim=True), Style(bold=True)

BLACK = Color.from_rgb(0, 0, 0)


@dataclass(frozen=True)
class Page:
    """Display settings shared by all sections."""

    width: int
    """Columns."""
    has_colors: bool
    n_top: int
    """Number of next tokens to show."""
    longest: float
    """Probability of a full bar."""


Part: TypeAlias = Callable[[Reading, Page], RenderableType]
"""A view of a reading."""


def show_readings(
    readings: Sequence[Reading], n_top: int, console: Console, parts: Sequence[Part] | None = None
) -> None:
    """Print readings side by side, or one below the other if the console is too narrow.

    parts: the views below the heading; by default the usual ones.
    """
    room = (console.width + GAP) // len(readings) - GAP
    rows = [readings] if room >= MIN_WIDTH else [[reading] for reading in readings]
    page = Page(
        width=min(MAX_WIDTH, room if room >= MIN_WIDTH else console.width),
        # 16 colors have no shades.
        has_colors=console.color_system in ("256", "truecolor") and not console.no_color,
        n_top=n_top,
        longest=longest_bar(readings),
    )
    for row in rows:
        table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
        for _ in row:
            table.add_column(width=page.width, overflow="fold")
        for part in (heading, *(USUAL_PARTS if parts is None else parts)):
            table.add_row(*(part(reading, page) for reading in row))
            table.add_row()
        console.print(table)


def heading(reading: Reading, page: Page) -> RenderableType:
    """Return the model's name and shape."""
    return Group(Text(reading.name, "bold reverse"), Text(reading.shape, DIM))


def tokens(reading: Reading, page: Page) -> RenderableType:
    """Return the tokens with their ids below them."""
    cells = [(sign, str(i)) for sign, i in zip(reading.signs, reading.ids, strict=True)]
    size = 1 + max(cell_len(part) for cell in cells for part in cell)
    lines = [Text("Tokens and their ids", BOLD)]
    for row in rows_of(cells, max(1, page.width // size)):
        lines.append(Text("".join(right(sign, size) for sign, _ in row)))
        lines.append(Text("".join(right(number, size) for _, number in row), DIM))
    return Group(*lines, Text(reading.legend, DIM))


def expectations(reading: Reading, page: Page) -> RenderableType:
    """Return the most likely next tokens as bars."""
    table = Table.grid(padding=(0, 1))
    table.width = min(MAX_BAR_WIDTH, page.width)
    table.add_column(justify="right")
    table.add_column(ratio=1)
    table.add_column(justify="right")
    for sign, probability in reading.expected(-1, page.n_top):
        bar = Bar(page.longest, 0, probability, color="green")
        table.add_row(Text(sign, BOLD), bar, percent(probability))
    return Group(Text("Next token", BOLD), table)


def attention(reading: Reading, page: Page) -> RenderableType:
    """Return the attention map as a triangle, queries as rows and keys as columns."""
    signs, is_wide = reading.signs, any(cell_len(sign) > 1 for sign in reading.signs)
    room = max(2, page.width - 3)
    n = min(MAP_POSITIONS, len(signs))
    size = 2 if is_wide or 2 * n <= room else 1  # two columns make a square
    first = len(signs) - min(n, room // size)
    lines = [
        Text(f"Attention of layer {reading.layer}, head {reading.head}", BOLD),
        Text("weight of each column's token for each row's" + reading.cut_note(first), DIM),
    ]
    for row, weights in enumerate(reading.attention(first)):
        cells = (shade(weight, size, page) for weight in weights[: row + 1])
        lines.append(Text.assemble(right(signs[first + row], 2), " ", *cells))
    lines.append(Text("   " + "".join(left(sign, size) for sign in signs[first:])))
    legend = Text("  ").join(Text.assemble(shade(level, 2, page), f" {level:.0%}") for level in LEVELS)
    return Group(*lines, legend.append("+"), Text(reading.choice, DIM))


def losses(reading: Reading, page: Page) -> RenderableType:
    """Return the text colored by loss, or with losses below it where there are no colors."""
    lines = [Text("Loss per character", BOLD)]
    show = colored_losses if page.has_colors else numbered_losses
    for positions in reading.lines(page.width):
        lines += show([(reading.letters[i], reading.losses[i]) for i in positions])
    return Group(*lines, loss_legend(page), Text(reading.summary))


def colored_losses(row: Sequence[tuple[str, float]]) -> list[Text]:
    """Return a line of characters on the colors of their losses; one without a loss is left plain."""
    return [Text.assemble(*((sign, Style() if math.isnan(loss) else redness(loss)) for sign, loss in row))]


def numbered_losses(row: Sequence[tuple[str, float]]) -> list[Text]:
    """Return two lines: characters, and their losses in whole nats."""
    numbers = (" " if math.isnan(loss) else str(min(9, round(loss))) for _, loss in row)
    return [
        Text("".join(sign for sign, _ in row)),
        Text("".join(left(number, cell_len(sign)) for number, (sign, _) in zip(numbers, row, strict=True))),
    ]


def loss_legend(page: Page) -> Text:
    """Return the legend of the colors or digits."""
    if not page.has_colors:
        return Text("in nats; 9 is 9 or more", DIM)
    scale = (("  ", redness(nats)) for nats in range(round(MAX_NATS) + 1))
    return Text.assemble("0 ", *scale, f" {MAX_NATS:.0f} nats or more", style=DIM)


def surprises(reading: Reading, page: Page) -> RenderableType:
    """Return the characters with the highest losses, with their context and the model's prediction."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_row("nats", "after", "actual", "predicted", style=DIM)
    for position in reading.surprises(N_SURPRISES):
        before = "".join(reading.signs[max(0, position - CONTEXT) : position])
        (sign, probability), *_ = reading.expected(position - 1, 1)
        table.add_row(
            f"{reading.losses[position]:.1f}",
            Text(before),
            Text(reading.signs[position], BOLD),
            Text(f"{sign} {percent(probability)}"),
        )
    return Group(Text("Most surprising", BOLD), table)


USUAL_PARTS = (tokens, expectations, attention, losses, surprises)


def right(text: str, size: int) -> str:
    """Align right in `size` columns; a sign may be two columns wide."""
    return " " * (size - cell_len(text)) + text


def left(text: str, size: int) -> str:
    """Align left in `size` columns."""
    return text + " " * (size - cell_len(text))


def shade(weight: float, size: int, page: Page) -> tuple[str, Style]:
    """Return a weight as a square of a color, or of a shading character where there are no colors."""
    if page.has_colors:
        return " " * size, Style(bgcolor=blend(DARK_TO_BRIGHT, math.sqrt(weight)))
    return SHADES[bisect_right(LEVELS, weight) - 1] * size, Style()


def redness(loss: float) -> Style:
    """Return black text on the color of a loss."""
    return Style(color=BLACK, bgcolor=blend(CALM_TO_RED, min(1.0, loss / MAX_NATS)))


def blend(stops: Stops, share: float) -> Color:
    """Interpolate the color at a position, 0 to 1, along the stops."""
    place = share * (len(stops) - 1)
    stop = min(int(place), len(stops) - 2)
    colors = (ColorTriplet(*stops[stop]), ColorTriplet(*stops[stop + 1]))
    return Color.from_triplet(blend_rgb(*colors, cross_fade=place - stop))
