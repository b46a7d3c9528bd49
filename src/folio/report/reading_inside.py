"""Views of a model's inside on a text: all heads, the model without some, the logit lens, neighbors in the embedding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from folio.inference.heads import HeadStatistics, attention_statistics
from folio.log import format_number
from folio.report.reading import Reading, legend_of, percent, visible
from folio.report.reading_terminal import BOLD, CONTEXT, DIM, Page, left, right

LOOKS = ("previous", "first", "itself", "same", "after")
"""The weights of `HeadStatistics`, a column each; its entropy is the last."""
HEAD_COLUMNS = {"head": 5, "prev": 6, "first": 6, "self": 6, "same": 6, "after": 6, "nats": 5}
"""Names and widths of the columns of the table of heads: 40 together."""
STRONG = 0.5
"""Weight from which a number is marked."""
N_CHANGES = 8
LENS_CELL = 10
"""Columns of a token and its probability under the lens."""
MAX_LENS_TOKENS = 6
NEIGHBOR_CELL = 10
"""Columns of a neighbor and its cosine."""


def heads(reading: Reading, page: Page) -> RenderableType:
    """Return a line for each head of each layer: where it looks, on average over the positions."""
    T = len(reading.ids)
    evenly = torch.ones(1, T, T).tril() / torch.arange(1, T + 1)[:, None]  # (1, T, T)
    even = attention_statistics(evenly, torch.tensor(reading.ids))
    return Group(
        Text("All heads", BOLD),
        Text(
            "mean weight in % on the token just before, the first one, the token itself, earlier occurrences of it "
            "(same) and what followed those (after); entropy in nats",
            DIM,
        ),
        Text("".join(right(name, size) for name, size in HEAD_COLUMNS.items()), DIM),
        *(
            head_line(f"{layer}.{head}", reading.heads, (layer, head))
            for layer in range(reading.model.n_layer)
            for head in range(reading.model.n_head)
        ),
        head_line("even", even, (0,)),
        Text(
            f"* {STRONG:.0%} or more; even: a head that looks at all alike; –: the text has no such token",
            DIM,
        ),
    )


def head_line(name: str, statistics: HeadStatistics, place: tuple[int, ...]) -> Text:
    """Return the statistics of the head at a place of the tensors, its strong weights marked."""
    first, *sizes, last = HEAD_COLUMNS.values()
    line = Text(right(name, first))
    for look, size in zip(LOOKS, sizes, strict=True):
        weight = float(getattr(statistics, look)[place])
        is_strong = weight >= STRONG
        number = "–" if math.isnan(weight) else f"{100 * weight:.0f}"
        line.append(right(number + ("*" if is_strong else " "), size), BOLD if is_strong else Style())
    entropy = float(statistics.entropy[place])
    return line.append(right("–" if math.isnan(entropy) else f"{entropy:.1f}", last))


def without(reading: Reading, page: Page) -> RenderableType:
    """Return the loss with and without some heads, and the tokens whose losses change most."""
    names = ", ".join(f"{layer}.{head}" for layer, head in reading.without)
    title = Text(f"Without head {names}" if len(reading.without) == 1 else f"Without heads {names}", BOLD)
    if len(reading.ids) < 2:
        return Group(title, Text(reading.summary))
    losses, changed = reading.losses, reading.losses_without
    table = Table.grid(padding=(0, 1))
    table.add_column()
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    table.add_row("after", "actual", "with", "without", "change", style=DIM)
    table.add_row("", "mean", *loss_cells(mean(losses), mean(changed)))
    for position in reading.most_changed(N_CHANGES):
        before = "".join(reading.signs[max(0, position - CONTEXT) : position])
        cells = loss_cells(losses[position], changed[position])
        table.add_row(Text(before), Text(reading.signs[position], BOLD), *cells)
    return Group(title, Text("loss in nats, of the tokens where it changes most", DIM), table)


def mean(losses: Sequence[float]) -> float:
    """Return the mean loss of all tokens but the first, which has none."""
    return sum(losses[1:]) / (len(losses) - 1)


def loss_cells(before: float, now: float) -> tuple[str, str, str]:
    """Format two losses and their difference."""
    return f"{before:.2f}", f"{now:.2f}", f"{round(now - before, 2) + 0.0:+.2f}"  # + 0.0: no negative zero


def lens(reading: Reading, page: Page) -> RenderableType:
    """Return what the model would predict if it stopped after each layer, and its mean loss then."""
    n = max(1, min(page.n_top, MAX_LENS_TOKENS, (page.width - 12) // LENS_CELL, len(reading.vocabulary)))
    lines = [
        Text("Logit lens", BOLD),
        Text("next token, and mean loss of the text in nats, if the model stopped after each layer", DIM),
        Text(left("layer", 6) + right("nats", 5) + "  next", DIM),
    ]
    shown = set(reading.tokens)
    for row, logprobs in enumerate(reading.lens.logprobs):
        losses = reading.lens.losses[row]
        nats = f"{losses.mean():.2f}" if len(losses) else "–"
        line = Text(left(str(row - 1) if row else "none", 6) + right(nats, 5) + "  ")
        probabilities, ids = logprobs.exp().topk(n)
        for probability, i in zip(probabilities.tolist(), ids.tolist(), strict=True):
            shown.add(reading.vocabulary[i])
            line.append(cell(reading.vocabulary[i], percent(probability), LENS_CELL))
        lines.append(line)
    return Group(*lines, Text("none: the embedding alone", DIM), Text(legend_of(shown), DIM))


def neighbors(reading: Reading, page: Page) -> RenderableType:
    """Return the nearest tokens of each distinct token of the text in the embedding."""
    found = reading.neighbors
    lines = [
        Text("Nearest in the embedding", BOLD),
        Text("cosine, 1 for the same direction, of the tokens nearest to each", DIM),
    ]
    shown = {*reading.tokens, *(reading.vocabulary[i] for i in found.nearest.flatten().tolist())}
    for i, nearest, cosines in zip(
        found.ids.tolist(), found.nearest.tolist(), found.similarities.tolist(), strict=True
    ):
        line = Text(left(visible(reading.vocabulary[i]), 4), BOLD)
        for neighbor, cosine in zip(nearest, cosines, strict=True):
            number = format_number(cosine, 2)
            line.append(cell(reading.vocabulary[neighbor], number, NEIGHBOR_CELL))
        lines.append(line)
    return Group(*lines, Text(legend_of(shown), DIM))


def cell(token: str, number: str, size: int) -> Text:
    """Return a token and its number in `size` columns."""
    return Text.assemble((visible(token), BOLD), left(f" {number}", size - cell_len(visible(token))))
