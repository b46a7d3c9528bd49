"""No silence: what takes long is named, and Ctrl-C is noticed in the midst of it."""

import signal
import threading
import time

import pytest

from folio import activity as module
from folio.activity import activity, interruptible, repeated


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.02)


def test_what_takes_long_is_named_again_and_again():
    shown = []
    with repeated(lambda: shown.append("Reading"), pause=0.02):
        time.sleep(0.3)
    assert len(shown) > 3


def test_what_is_short_is_not_named(capsys):
    with activity("Reading"):
        pass
    assert capsys.readouterr() == ("", "")


def test_it_says_how_far_it_is_on_stderr(capsys):
    with activity(lambda: "Reading, 40%"):
        time.sleep(0.1)
    assert capsys.readouterr() == ("", "Reading, 40% ... 0 s\n")


def test_a_terminal_shows_one_line_that_is_gone_at_the_end(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with activity("Reading"):
        time.sleep(0.1)
    assert capsys.readouterr().err == "\rReading ... 0 s\r               \r"


def test_errors_and_results_pass():
    assert interruptible(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError), activity("Dividing"):
        _ = 1 // 0


def test_ctrl_c_is_noticed_while_a_library_computes():
    threading.Timer(0.1, lambda: signal.raise_signal(signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interruptible(lambda: time.sleep(5))
    assert time.monotonic() - start < 4
