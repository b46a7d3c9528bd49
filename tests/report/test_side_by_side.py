"""Texts side by side."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from folio.report.side_by_side import SIDE_BY_SIDE_WIDTH, show_side_by_side


@pytest.mark.parametrize(("width", "n_lines"), [(SIDE_BY_SIDE_WIDTH, 1), (SIDE_BY_SIDE_WIDTH - 1, 2)])
def test_texts_stand_side_by_side_where_there_is_room(width, n_lines):
    console = Console(file=io.StringIO(), width=width)
    show_side_by_side([Text("one"), Text("two")], console)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == n_lines
    assert " ".join(lines).split() == ["one", "two"]
