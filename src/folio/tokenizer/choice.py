"""Choose a tokenizer by name: characters, byte-level BPE, or one that is there already."""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from folio.errors import UserError
from folio.tokenizer.bpe import GPT2_SPLIT, BPETokenizer, Split
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.directory import fingerprint, load_tokenizer
from folio.tokenizer.protocol import Tokenizer

PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " \n" + "‘’“”–—…"
"""ASCII, and the usual typographic marks."""


@dataclass(frozen=True)
class TokenizerChoice:
    """Which tokenizer a text gets; the same text gives the same tokenizer.

    kind:       "char", a token for each character; "bpe", for frequent pieces of words, with bytes to spell the rest; or the
                path of a directory that has a tokenizer, to which the tokens of the chat template are added.
    vocab_size: most tokens of bpe.
    reserves:   whether char also has both cases of its letters, all printable ASCII and typographic marks.
    split:      how bpe splits texts.
    """

    kind: str
    vocab_size: int = 4096
    reserves: bool = True
    split: Split = GPT2_SPLIT

    @property
    def directory(self) -> Path | None:
        """The directory of a tokenizer that is there already. Raises UserError where `kind` is nothing that there is."""
        if self.kind in ("char", "bpe"):
            return None
        path = Path(os.path.expanduser(self.kind))
        if not os.path.isdir(path):
            raise UserError(
                f"tokenizer is {self.kind!r}: it must be char, bpe or a directory with a tokenizer.json."
            )
        return path

    @property
    def identity(self) -> str:
        """What changes when the tokenizer that a text gets does."""
        directory = self.directory
        return (
            f"{self.kind} {self.vocab_size} {self.reserves} {self.split}"
            if directory is None
            else fingerprint(directory)
        )

    def make(
        self, characters: Callable[[], AbstractSet[str]], texts: Callable[[], Iterable[str]]
    ) -> Tokenizer:
        """Return the tokenizer. characters: returns all those of the text; texts: what bpe is trained on.

        Raises UserError where the directory's tokenizer is missing or damaged, and where vocab_size is too small.
        """
        directory = self.directory
        if directory is not None:
            return load_tokenizer(directory).with_chat_tokens()
        if self.kind == "bpe":
            return BPETokenizer.train(texts(), self.vocab_size, self.split)
        known = set(characters())
        if self.reserves:  # each by itself: a final sigma is another letter than a sigma
            known = known.union(PRINTABLE, *(each.upper() + each.lower() for each in known))
        return CharTokenizer(tuple(known))
