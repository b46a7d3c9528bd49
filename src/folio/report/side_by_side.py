"""Print texts side by side where the terminal is wide enough for it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

SIDE_BY_SIDE_WIDTH = 80
"""Columns needed for two texts side by side."""
GAP = 4


def show_side_by_side(texts: Sequence[Text], console: Console) -> None:
    """Print texts side by side where there is room, else one below the other."""
    fits = console.width >= SIDE_BY_SIDE_WIDTH
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False, expand=True)
    for _ in texts if fits else texts[:1]:
        table.add_column(ratio=1, overflow="fold")
    for row in [texts] if fits else [[text] for text in texts]:
        table.add_row(*row)
    console.print(table)
