"""Tokenize long texts piece by piece: a tokenizer needs much memory for each character that it has before it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from folio.tokenizer.protocol import Tokenizer

PIECE = 2**16
"""Characters tokenized at once."""


def pieces(text: str, size: int = PIECE) -> Iterator[str]:
    """Yield the text in order; each piece ends with the first line end after `size` characters, or after twice as many."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + size, start + 2 * size) + 1 or min(start + 2 * size, len(text))
        yield text[start:end]
        start = end


def encode_long(tokenizer: Tokenizer, text: str) -> NDArray[np.int32]:
    """Return the ids of a text of any length: (n) int32. Raises what `Tokenizer.encode` raises."""
    return np.concatenate([np.zeros(0, np.int32), *map(tokenizer.encode, pieces(text))])
