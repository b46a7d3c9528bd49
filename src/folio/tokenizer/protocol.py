"""What every tokenizer can do, whatever its tokens are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Tokenizer(Protocol):
    """Text to token ids, and back."""

    @property
    def unit(self) -> str:
        """What a token of text is called where a person reads of it: "character" or "token"."""

    @property
    def vocab_size(self) -> int:
        """The highest id and one (V). The model may have more rows than that."""

    @property
    def special_ids(self) -> dict[str, int]:
        """The id of each special token, by name. Text never turns into one."""

    @property
    def end_ids(self) -> list[int]:
        """The tokens after which a text is over; none where the tokenizer does not tell."""

    def encode(self, text: str) -> NDArray[np.int32]:
        """The ids of a text: (n) int32. Raises UserError for what the tokenizer cannot hold."""

    def prompt(self, text: str) -> list[int]:
        """What a model reads in order to continue a text: at least one id, also where the text is empty.

        Raises UserError for an empty text where nothing is known to begin one with.
        """

    def drop_unknown(self, text: str) -> tuple[str, str]:
        """The text without what `encode` refuses, and that, each character once."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids, special tokens by name; U+FFFD stands for bytes that are no character, or not yet."""

    def save(self, directory: Path) -> None:
        """Write `tokenizer.json` and what belongs to it, as `transformers.AutoTokenizer` reads them."""

    def with_chat_tokens(self) -> Tokenizer:
        """This tokenizer with all the tokens of the chat template; those that are missing get the next ids."""
