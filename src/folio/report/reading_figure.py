"""Draw readings of a text to an image file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from folio.report.figure import save_figure
from folio.report.reading import (
    CALM_TO_RED,
    DARK_TO_BRIGHT,
    MAP_POSITIONS,
    MAX_NATS,
    REPLACEMENT,
    Reading,
    Stops,
    longest_bar,
    percent,
    rows_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

CELLS = 28
"""Characters per line of text."""
INCHES = 0.28
"""Side of a character's square."""
FONT = "DejaVu Sans Mono"
"""The monospace font that comes with matplotlib."""
MAX_LINES = 40
"""Only the last lines of a longer text are drawn, as matplotlib limits images to 65,535 pixels."""
LONGEST_NAME = 48
PALE: Stops = ((240, 240, 240), (240, 240, 240))

ALONE = [["tokens", "attention"], ["next", "attention"], ["losses", "attention"]]
STACKED = [["tokens"], ["next"], ["attention"], ["losses"]]
"""Layouts of the four panels of a reading: alone in the figure, and beside another reading."""


class Cell(NamedTuple):
    """A character, the small text below it, and its position on the color scale, 0 to 1."""

    letter: str
    below: str
    share: float


def draw_readings(readings: Sequence[Reading], n_top: int, path: Path) -> None:
    """Draw readings side by side, with the same panels as in the terminal. The image replaces `path` atomically.

    Raises UserError if it cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    longest = longest_bar(readings)
    mosaic = ALONE if len(readings) == 1 else STACKED
    tokens = [token_rows(reading) for reading in readings]
    losses = [loss_rows(reading) for reading in readings]
    heights = {
        "tokens": max(map(len, tokens)) + 1.5,
        "next": 0.7 * n_top + 1.5,
        "attention": CELLS + 3,
        "losses": max(map(len, losses)) + 1.5,
    }
    ratios = [heights[row[0]] for row in mosaic]
    size = (
        INCHES * (CELLS + 2) * max(2, len(readings)),
        INCHES * (3 + max(sum(ratios), heights["attention"])),
    )
    # A dollar sign in a text must not begin a formula.
    with mpl.rc_context(
        {"font.family": FONT, "font.size": 9, "axes.titlelocation": "left", "text.parse_math": False}
    ):
        figure = Figure(figsize=size, dpi=130, layout="constrained")
        parts = figure.subfigures(1, len(readings), squeeze=False)[0]
        for part, reading, token_cells, loss_cells in zip(parts, readings, tokens, losses, strict=True):
            axes = part.subplot_mosaic(mosaic, height_ratios=ratios)
            part.suptitle(drawable(f"{reading.name[-LONGEST_NAME:]}\n{reading.shape}"), fontsize=10)
            draw_cells(axes["tokens"], token_cells, PALE)
            axes["tokens"].set_title(f"Tokens and their ids\n{reading.legend}")
            draw_expectations(axes["next"], reading, n_top, longest)
            draw_attention(axes["attention"], reading)
            draw_cells(axes["losses"], loss_cells, CALM_TO_RED)
            axes["losses"].set_title(f"Loss per character in nats\n{reading.summary}")
        save_figure(figure, path)


def token_rows(reading: Reading) -> Sequence[Sequence[Cell]]:
    """Return the cells of the tokens with their ids."""
    cells = [Cell(sign, str(i), 0.0) for sign, i in zip(reading.signs, reading.ids, strict=True)]
    return rows_of(cells, CELLS)[-MAX_LINES:]


def loss_rows(reading: Reading) -> Sequence[Sequence[Cell]]:
    """Return the cells of the text with its losses."""
    cells = [
        Cell(letter, format_loss(loss), loss / MAX_NATS)
        for letter, loss in zip(reading.letters, reading.losses, strict=True)
    ]
    return [[cells[i] for i in line] for line in list(reading.lines(CELLS))[-MAX_LINES:]]


def draw_cells(axes: Axes, rows: Sequence[Sequence[Cell]], stops: Stops) -> None:
    """Draw characters in colored squares; a NaN share leaves the square white."""
    grid = [[cell.share for cell in row] + [math.nan] * (CELLS - len(row)) for row in rows]
    axes.imshow(grid, cmap=colors(stops), vmin=0, vmax=1)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            axes.text(x, y - 0.12, drawable(cell.letter), ha="center", va="center", fontsize=11)
            axes.text(x, y + 0.45, cell.below, ha="center", va="bottom", fontsize=6, color="0.15")
    axes.set_anchor("NW")
    axes.axis("off")


def draw_expectations(axes: Axes, reading: Reading, n_top: int, longest: float) -> None:
    """Draw the most likely next tokens as bars, the likeliest on top. longest: probability of a full bar."""
    signs, probabilities = zip(*reading.expected(-1, n_top), strict=True)
    bars = axes.barh(range(len(signs)), probabilities, color="tab:green")
    axes.bar_label(bars, fmt=percent, padding=3)
    axes.set_yticks(range(len(signs)), [drawable(sign) for sign in signs])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * longest)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_title("Next token")


def draw_attention(axes: Axes, reading: Reading) -> None:
    """Draw the attention weights of one head, queries as rows and keys as columns.

    Colors follow the square root, as most weights are small.
    """
    from matplotlib.colors import PowerNorm

    first = max(0, len(reading.ids) - MAP_POSITIONS)
    signs = [drawable(sign) for sign in reading.signs[first:]]
    rows = [
        [weight if column <= row else math.nan for column, weight in enumerate(weights)]
        for row, weights in enumerate(reading.attention(first))
    ]
    image = axes.imshow(rows, cmap=colors(DARK_TO_BRIGHT), norm=PowerNorm(0.5, 0, 1))
    axes.set_xticks(range(len(signs)), signs)
    axes.set_yticks(range(len(signs)), signs)
    axes.tick_params(length=0, labelsize=min(9, 300 / len(signs)))
    axes.spines[:].set_visible(False)
    axes.set_title(
        f"Attention of layer {reading.layer}, head {reading.head}\n"
        f"weight of each column's token for each row's{reading.cut_note(first)}"
    )
    axes.figure.colorbar(image, ax=axes, shrink=0.5, format=lambda weight, _: f"{weight:.0%}")


def colors(stops: Stops) -> Colormap:
    """Return a scale as a matplotlib colormap."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("stops", [tuple(part / 255 for part in stop) for stop in stops])


def format_loss(loss: float) -> str:
    """Format a loss in nats; "" for NaN."""
    return "" if math.isnan(loss) else f"{loss:.1f}"


def drawable(text: str) -> str:
    """Replace characters that the font lacks, about which matplotlib would warn."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont(FONT))
    return "".join(
        letter if letter == "\n" or font.get_char_index(ord(letter)) else REPLACEMENT for letter in text
    )
