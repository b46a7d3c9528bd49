import numpy as np

from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.pieces import encode_long, pieces


def test_pieces_are_bounded_and_end_with_lines_where_there_are_some():
    text = "line\n" * 100 + "x" * 500
    found = list(pieces(text, 50))
    assert "".join(found) == text
    assert max(map(len, found)) <= 100
    assert all(piece.endswith("\n") for piece in found[:9])


def test_a_long_text_has_the_ids_of_its_pieces():
    text = "one line\nand another\n" * 10_000
    tokenizer = CharTokenizer.train(text)
    assert np.array_equal(encode_long(tokenizer, text), tokenizer.encode(text))
    assert encode_long(tokenizer, "").tolist() == []
