"""`folio tokenizer`."""

import re

import pytest
from tiny import make_text

from folio.commands.tokenizer import main
from folio.tokenizer.bpe import BPETokenizer, Split


@pytest.fixture
def trained(folio, text_file, tmp_path):
    out = tmp_path / "mine"
    outcome = folio("tokenizer", "train", text_file, "--out", out, "--vocab-size", "280", "--digits", "1")
    assert outcome.code == 0, outcome.err
    return out


def test_train_makes_the_tokenizer_of_the_text(trained):
    tokenizer = BPETokenizer.load(trained)
    assert tokenizer.vocab_size == 280
    assert tokenizer == BPETokenizer.train([make_text()], 280, Split(1, 32))


def test_show_tells_its_tokens(folio, trained):
    outcome = folio("tokenizer", "show", trained, "--text", "the 42 cats")
    assert outcome.code == 0, outcome.err
    words = " ".join(outcome.out.split())
    assert "vocabulary 280, a token each" in words
    assert "'t' 'he' ' ' '4' '2' ' ' 'c' 'at' 's'" in words


def test_compare_is_by_bytes_per_token(folio, trained, text_file, tmp_path):
    larger = tmp_path / "larger"
    folio("tokenizer", "train", text_file, "--out", larger, "--vocab-size", "290")
    outcome = folio("tokenizer", "compare", trained, larger, "--data", text_file)
    assert outcome.code == 0, outcome.err
    found = [float(each) for each in re.findall(r"([\d.]+) bytes per token", " ".join(outcome.out.split()))][
        :2
    ]
    text = make_text()
    assert found[0] == pytest.approx(
        len(text.encode()) / len(BPETokenizer.load(trained).encode(text)), abs=1e-3
    )
    assert found[0] < found[1]


def test_gpt2_is_compared_where_it_is_at_hand(folio, trained, text_file, tmp_path, monkeypatch):
    monkeypatch.setenv("FOLIO_DATA", str(tmp_path))
    BPETokenizer.train(["the cat"], 265).save(tmp_path / "tokenizer" / "gpt2")
    assert "gpt2" in folio("tokenizer", "compare", trained, "--data", text_file).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["learn"], "unknown command 'learn'"),
        (["train", "none.txt", "--out", "OUT"], "no file or folder"),
        (["train", "TEXT"], "name a directory for the tokenizer"),
        (["train", "TEXT", "--out", "OUT", "--digits", "4"], "digits"),
        (["train", "TEXT", "--out", "OUT", "--vocab-size", "9"], "vocab_size is 9"),
        (["show", "OUT"], "cannot be read"),
        (["compare", "OUT"], "name a text to compare on"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(folio, text_file, tmp_path, arguments, message):
    names = {"TEXT": text_file, "OUT": tmp_path / "out"}
    assert message in folio("tokenizer", *(names.get(each, each) for each in arguments)).mistake
    assert not (tmp_path / "out").exists()


def test_help_is_that_of_all_three(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert not end.value.code
    out = capsys.readouterr().out
    assert all(f"folio tokenizer {command}" in out for command in ("train", "show", "compare"))
