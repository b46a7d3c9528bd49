"""How a text looks in a terminal while it is written."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from signs import OBEYED

from folio.report.writing import Lines, print_pieces


def shown(text, width):
    lines = Lines(lambda: width)
    return "".join(map(lines.add, text)) + lines.rest()


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("the cat sat on a mat", 10, ["the cat", "sat on a", "mat"]),
        ("the cat sat", 7, ["the cat", "sat"]),
        ("the  cat   sat", 9, ["the  cat", "sat"]),
        ("  indented\n\n    more", 40, ["  indented", "", "    more"]),
        ("abcdefghijklm no", 5, ["abcde", "fghij", "klm", "no"]),
        ("an abcdefgh", 5, ["an", "abcde", "fgh"]),
        ("東京は日本 abc", 5, ["東京", "は日", "本", "abc"]),
        ("a東b", 3, ["a東", "b"]),
        ("cafe\u0301s é", 5, ["cafe\u0301s", "é"]),
        ("a\tb\tc", 40, ["a       b       c"]),
        ("one two\n", 40, ["one two", ""]),
        ("", 40, [""]),
    ],
)
def test_lines_break_between_words(text, width, lines):
    assert shown(text, width).split("\n") == lines


@given(st.text(st.sampled_from("ab東\u0301 \n👍"), max_size=60), st.integers(2, 20))
def test_no_line_is_too_long_and_no_letter_is_lost(text, width):
    out = shown(text, width)
    assert all(cell_len(line) <= width for line in out.split("\n"))
    assert "".join(out.split()) == "".join(text.split())
    assert shown(text, 1000).split() == text.split()


def test_a_word_appears_when_it_is_complete():
    lines = Lines(lambda: 40)
    assert [lines.add(piece) for piece in ("the c", "a", "t sat")] == ["the", "", " cat"]
    assert lines.rest() == " sat"


def test_a_terminal_gets_signs_and_a_pipe_the_exact_text(monkeypatch, capsys):
    text = f"evil {OBEYED} text"
    print_pieces(text)
    assert capsys.readouterr().out == text + "\n"

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    print_pieces(text)
    assert not set(terminal.getvalue()) & set(OBEYED)


def test_what_was_written_is_shown_when_the_writing_is_interrupted(capsys):
    def pieces():
        yield "half a wor"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        print_pieces(pieces())
    assert capsys.readouterr().out == "half a wor\n"
