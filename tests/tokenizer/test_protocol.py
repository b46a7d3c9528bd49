"""What every tokenizer does."""

import numpy as np
import pytest

from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.protocol import Tokenizer

TEXT = "the cat sat on a mat\n"
TOKENIZERS = [CharTokenizer.train(TEXT), BPETokenizer.train([TEXT], 270)]


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: each.unit)
def test_each_keeps_the_promises_of_the_interface(tokenizer: Tokenizer):
    members = [name for name in vars(Tokenizer) if not name.startswith("_")]
    assert [name for name in members if not hasattr(tokenizer, name)] == []
    ids = tokenizer.encode(TEXT)
    assert ids.dtype == np.int32
    assert tokenizer.decode(ids) == TEXT
    assert max(ids) < tokenizer.vocab_size
    assert max(tokenizer.special_ids.values()) < tokenizer.vocab_size
    assert set(tokenizer.end_ids) <= set(tokenizer.special_ids.values())
    assert len(tokenizer.prompt("")) == 1
    for token, number in tokenizer.special_ids.items():
        assert tokenizer.decode([number]) == token
    assert tokenizer.drop_unknown(TEXT) == (TEXT, "")
