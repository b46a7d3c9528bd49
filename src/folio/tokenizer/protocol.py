"""The interface of all tokenizers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Tokenizer(Protocol):
    """Turns text into token ids, and back."""

    @property
    def unit(self) -> str:
        """What messages call a token: "character" or "token"."""

    @property
    def vocab_size(self) -> int:
        """Highest id plus one (V). A model may have more rows than that."""

    @property
    def special_ids(self) -> dict[str, int]:
        """The id of each special token, by name. `encode` never returns one."""

    @property
    def end_ids(self) -> list[int]:
        """The tokens that end a text; empty where the tokenizer names none."""

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the ids of a text: (n) int32. Raises UserError for a character that the tokenizer does not know."""

    def prompt(self, text: str) -> list[int]:
        """Return the ids for a model to continue a text: at least one, also for an empty text.

        Raises UserError for an empty text where the tokenizer has no token to begin with.
        """

    def drop_unknown(self, text: str) -> tuple[str, str]:
        """Return the text without the characters that `encode` refuses, and those, each once."""

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, special tokens by name. Bytes that are not (yet) a character become U+FFFD.

        An id without a token, as in a padded embedding, adds nothing.
        """

    def save(self, directory: Path, block_size: int | None = None) -> None:
        """Write `tokenizer.json` and the files beside it that `transformers.AutoTokenizer` reads.

        block_size: the model's context, which others take as the length to cut texts to; None for no limit.
        """

    def with_chat_tokens(self) -> Tokenizer:
        """Return this tokenizer with all tokens of the chat template; missing ones get the next ids."""
