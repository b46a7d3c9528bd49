"""What a person sees."""

import io

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text
from signs import OBEYED

from folio.log import (
    Progress,
    format_count,
    format_duration,
    format_number,
    format_size,
    format_speed,
    make_console,
)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (-3, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599.6, "1:00:00"), (36_005, "10:00:05")],
)
def test_clock(seconds, shown):
    assert format_duration(seconds) == shown


@pytest.mark.parametrize(("n_bytes", "shown"), [(0, "0 MB"), (2.34e8, "234 MB"), (1.25e10, "12.5 GB")])
def test_size(n_bytes, shown):
    assert format_size(n_bytes) == shown


def test_plain_lines_without_a_terminal(monkeypatch):
    now = 100.0
    monkeypatch.setattr("folio.log.time.monotonic", lambda: now)
    file = io.StringIO()
    progress = Progress(Console(file=file, width=40), total=9)
    with progress.shown():
        for step in range(1, 10):
            progress.update(step, {"loss": f"{step}.0", "left": "0:10"})
            now += 3.0
    lines = file.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1/9", "3/9", "5/9", "7/9", "9/9"], (
        "every 4 s, and the last"
    )
    assert lines[0] == "step 1/9  loss 1.0  left 0:10"


def test_a_bar_in_a_narrow_terminal():
    file = io.StringIO()
    console = Console(
        file=file,
        width=40,
        force_terminal=True,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    progress = Progress(console, total=3)
    with progress.shown():
        for step in range(1, 4):
            progress.update(step, {"loss": "1.234", "val_loss": "1.234", "characters/s": "123,456"})
            progress.say("a line that stays [not markup] :smile:")
    assert "[not markup]" in file.getvalue()
    assert "step 3 of 3" in file.getvalue()


def test_the_console_leaves_models_words_alone(capsys):
    make_console().print("[bold]x[/bold] :smile: [/red]")
    assert capsys.readouterr().out == "[bold]x[/bold] :smile: [/red]\n"


def in_a_table(text):
    table = Table(text, title=text)
    table.add_row(Text(text, style="bold"))
    return table


@pytest.mark.parametrize("wrap", [str, Text, in_a_table], ids=["string", "text", "table"])
def test_no_console_passes_control_characters_on(wrap, capsys):
    make_console().print(wrap(f"evil {OBEYED}]0;title"))
    out = capsys.readouterr().out
    assert "evil" in out
    assert not set(out) & set(OBEYED)


def test_the_console_shows_a_sign_where_rich_drops_a_character(capsys):
    make_console().print("bell \a back \b return \r.")
    assert capsys.readouterr().out == "bell ␇ back ␈ return ␍.\n"


def test_the_bar_and_colors_still_reach_a_terminal(capsys):
    console = make_console()
    console._force_terminal = True
    console.file = file = io.StringIO()
    progress = Progress(console, total=3)
    with progress.shown():
        progress.say(Text("bold", style="bold"))
        progress.update(1, {"loss\x1b[2J": "1.0"})
    assert "\x1b[" in file.getvalue()
    assert "\x1b[2J" not in file.getvalue()


@pytest.mark.parametrize(("n", "shown"), [(0, "0 steps"), (1, "1 step"), (2000, "2,000 steps")])
def test_a_count_and_its_noun(n, shown):
    assert format_count(n, "step") == shown


@pytest.mark.parametrize(("value", "shown"), [(-0.004, "0.00"), (-0.006, "-0.01"), (1.234, "1.23")])
def test_no_number_is_a_negative_zero(value, shown):
    assert format_number(value, 2) == shown


@pytest.mark.parametrize(
    ("speed", "shown"), [(1.2345e12, "1,234 GFLOP/s"), (4.2e7, "0.042 GFLOP/s"), (1.23e9, "1.2 GFLOP/s")]
)
def test_a_slow_speed_is_not_zero(speed, shown):
    assert format_speed(speed) == shown
