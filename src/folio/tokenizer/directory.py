"""Load the tokenizer of a model directory, whatever its kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from folio.errors import UserError
from folio.tokenizer.bpe import FILE, BPETokenizer, old_pair
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.protocol import Tokenizer

KINDS: Mapping[str, Callable[[Path], Tokenizer]] = {
    "BPE": BPETokenizer.load,
    "WordLevel": CharTokenizer.load,
}
"""Loaders by the kind that `tokenizer.json` names."""


def load_tokenizer(directory: Path) -> Tokenizer:
    """Load the tokenizer of a model directory: byte-level BPE, or folio's character tokenizer.

    Raises UserError where it is missing, damaged, or of another kind.
    """
    kind = "BPE" if old_pair(directory) else _kind(directory / FILE)
    if kind not in KINDS:
        raise UserError(
            f"{directory / FILE} holds a tokenizer of kind {kind}: folio reads byte-level BPE and its own character tokenizer."
        )
    return KINDS[kind](directory)


def _kind(path: Path) -> str:
    try:
        model = json.loads(path.read_text(encoding="utf-8"))["model"]
        # GPT-2's file predates the entry.
        return str(model.get("type") or ("BPE" if "merges" in model else None))
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): name a model directory with its tokenizer in it."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: copy it again, or save the model again.") from error
