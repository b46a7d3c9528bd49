"""What a person types in a terminal."""

import pytest
from terminals import in_terminal

CODE = """
import sys
from pathlib import Path
from folio.terminal import typed_turns
for turn in typed_turns("> ", Path(sys.argv[1])):
    print("turn", repr(turn))
print("left")
"""
CTRL_D, UP = "\x04", "\x1b[A"


@pytest.fixture
def typing(tmp_path):
    """Starts a session; the history of all of them is in one file."""
    return lambda: in_terminal("-c", CODE, str(tmp_path / "cache" / "lines"))


def test_pasted_lines_are_one_turn(typing):
    with typing() as terminal:
        terminal.wait_for("> ")
        terminal.type("one\ntwo\n\n  three\n")
        terminal.wait_for(r"turn 'one\ntwo\n\n  three'")
        terminal.wait_for("> ")
        terminal.type("four\n")
        terminal.wait_for("turn 'four'")


def test_the_last_pasted_line_can_be_finished(typing):
    with typing() as terminal:
        terminal.wait_for("> ")
        terminal.type("one\ntwo")
        terminal.wait_for("two")
        terminal.type(" more\n")
        terminal.wait_for(r"turn 'one\ntwo more'")


def test_a_command_is_a_turn_of_its_own(typing):
    with typing() as terminal:
        terminal.wait_for("> ")
        terminal.type("/retry\none\n/two\n")
        terminal.wait_for("turn '/retry'")
        terminal.wait_for(r"turn 'one\n/two'")


def test_ctrl_c_clears_the_line_and_a_second_one_leaves(typing):
    with typing() as terminal:
        terminal.wait_for("> ")
        terminal.type("half a li")
        terminal.wait_for("half a li")
        terminal.interrupt("Ctrl-C again leaves, as does Ctrl-D.")
        terminal.wait_for("> ")
        terminal.type("whole\n")
        terminal.wait_for("turn 'whole'")
        terminal.wait_for("> ")
        terminal.interrupt("Ctrl-C again leaves")
        terminal.wait_for("> ")
        terminal.interrupt("left")
        assert terminal.wait_for_end() == 0


def test_ctrl_d_leaves(typing):
    with typing() as terminal:
        terminal.wait_for("> ")
        terminal.type(CTRL_D)
        terminal.wait_for("left")
        assert terminal.wait_for_end() == 0


def test_the_arrows_bring_back_lines_of_earlier_sessions(typing, tmp_path):
    pytest.importorskip("readline")
    with typing() as terminal:
        terminal.wait_for("> ")
        terminal.type("from before\n")
        terminal.wait_for("turn 'from before'")
        terminal.process.kill()
    with typing() as terminal:
        terminal.wait_for("> ")
        terminal.type(UP)
        terminal.wait_for("from before")
        terminal.type("\n")
        terminal.wait_for("turn 'from before'")
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
