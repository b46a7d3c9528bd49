"""Load the tokenizer of a model directory, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from folio.errors import UserError
from folio.tokenizer.bpe import BPETokenizer, old_pair
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.protocol import Tokenizer
from folio.tokenizer.tokenizer_json import FILE, model_kind, read_content

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
