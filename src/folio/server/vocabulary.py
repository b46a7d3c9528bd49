"""The bytes of every token, so that text is put together from bytes and never shows half a character."""

from __future__ import annotations

import json
from functools import cached_property

from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.protocol import Tokenizer

REPLACEMENT = "\ufffd"


class Vocabulary:
    """The tokens of a tokenizer as bytes.

    bytes:   of each token by its id; none for a special token, or an id that is no token.
    special: the ids of special tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.special = frozenset(tokenizer.special_ids.values())
        self.bytes = [self._bytes_of(token) for token in range(tokenizer.vocab_size)]

    def name(self, token: int) -> str:
        """Return how a token is called: its text, or its bytes as in `bytes:\\xf0\\x9f` where they are no whole characters."""
        if token in self.special or token >= len(self.bytes):
            return self.tokenizer.decode([token])
        try:
            return self.bytes[token].decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in self.bytes[token])

    def _bytes_of(self, token: int) -> bytes:
        if token in self.special:
            return b""
        text = self.tokenizer.decode([token])
        if REPLACEMENT in text and isinstance(self.tokenizer, BPETokenizer):
            return bytes(self._letters[letter] for letter in self._tokens[token])
        return text.encode("utf-8", "surrogatepass")

    @cached_property
    def _tokens(self) -> dict[int, str]:
        """Tokens as byte-level BPE writes them, a letter for each byte, by id."""
        content = json.loads(self.tokenizer.content)  # type: ignore[attr-defined]
        return {id: token for token, id in content["model"]["vocab"].items()}

    @cached_property
    def _letters(self) -> dict[str, int]:
        """The byte for each letter: printable ones stand for themselves, the others for the letters from U+0100 on."""
        printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        others = [byte for byte in range(256) if byte not in printable]
        letters = {chr(byte): byte for byte in printable}
        return letters | {chr(0x100 + n): byte for n, byte in enumerate(others)}
