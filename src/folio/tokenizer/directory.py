"""Load the tokenizer of a model directory, whatever its kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from folio.errors import UserError, parsing
from folio.files import sha256
from folio.tokenizer.bpe import BPETokenizer, old_pair
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.protocol import Tokenizer
from folio.tokenizer.tokenizer_json import ADVICE, FILE, model_kind, read_content

KINDS: Mapping[str, Callable[[Path], Tokenizer]] = {
    "BPE": BPETokenizer.load,
    "WordLevel": CharTokenizer.load,
}
"""Loaders by the kind that `tokenizer.json` names."""


def load_tokenizer(directory: Path) -> Tokenizer:
    """Load the tokenizer of a model directory: byte-level BPE, or folio's character tokenizer.

    Raises UserError where it is missing, damaged, or of another kind.
    """
    kind = "BPE" if old_pair(directory) else model_kind(read_content(directory / FILE))
    if kind not in KINDS:
        raise UserError(
            f"{directory / FILE} holds a tokenizer of kind {kind}: folio reads byte-level BPE and its own character tokenizer."
        )
    return KINDS[kind](directory)


def fingerprint(directory: Path) -> str:
    """Return a SHA-256 of the tokenizer of a directory: with the same, texts get the same ids.

    Raises UserError where there is none.
    """
    files = old_pair(directory) or (directory / FILE,)
    with parsing(files[0], ADVICE):
        digests = [sha256(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
