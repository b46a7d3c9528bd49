"""What a person sees."""

import io

import pytest
from rich.console import Console

from folio.log import Progress, format_duration, format_size, make_console


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
