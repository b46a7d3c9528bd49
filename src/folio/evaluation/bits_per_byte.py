"""How well a model predicts a text, in bits per byte, and how well compressors do that know nothing."""

from __future__ import annotations

import bz2
import lzma
import math
import warnings
from collections.abc import Iterator, Sequence

import torch

from folio.batch import Batch
from folio.errors import FolioWarning, UserError
from folio.evaluation.loss import evaluate
from folio.model.gpt import GPT
from folio.tokenizer.protocol import Tokenizer

BATCH_TOKENS = 4096
"""Tokens of a forward pass."""


def bits_per_byte(model: GPT, tokenizer: Tokenizer, text: str) -> dict[str, float]:
    """Evaluate how well a model predicts a text.

    Each token is predicted once, from the tokens before it in its window. Windows have the length of the model's context and
    stand side by side; the first begins with the token that begins a text, the last reaches back to be as long as the others.
    So lm-evaluation-harness computes bits_per_byte (loglikelihood_rolling).

    Args:
        model: a model.
        tokenizer: its tokenizer.
        text: a text. Warns with FolioWarning of characters that the tokenizer does not know, which are left out.

    Returns:
        `bits_per_byte`, which compares models of different tokenizers; `loss` in nats a token; `n_tokens` and `n_bytes`, in
        UTF-8, of what was read.

    Raises:
        UserError: where nothing is left to read.
    """
    known, unknown = tokenizer.drop_unknown(text)
    if unknown:
        n = sum(map(text.count, unknown))
        warnings.warn(
            f"{n:,} of {len(text):,} characters are left out, which the model has never seen: {unknown!r}",
            FolioWarning,
            stacklevel=2,
        )
    if not known:
        raise UserError("there is no text that the model could read.")
    ids = [*tokenizer.prompt(""), *tokenizer.encode(known).tolist()]
    first = (
        len(tokenizer.prompt("")) - 1
    )  # of several tokens that begin a text, none but the last predicts some of it
    loss = evaluate(model, windows(ids[first:], model.config.block_size))["loss"]
    n_tokens, n_bytes = len(ids) - first - 1, len(known.encode())
    return {
        "bits_per_byte": loss * n_tokens / math.log(2) / n_bytes,
        "loss": loss,
        "n_tokens": n_tokens,
        "n_bytes": n_bytes,
    }


def windows(ids: Sequence[int], block_size: int) -> Iterator[Batch]:
    """Yield batches of windows in which each id but the first is a target once."""
    width = min(block_size, len(ids) - 1)
    ends = [*range(width, len(ids) - 1, width), len(ids) - 1]
    tokens, weights = torch.tensor(ids), torch.ones(len(ends), width)
    weights[-1, : width - (ends[-1] - (len(ends) - 1) * width)] = 0
    n_rows = max(1, BATCH_TOKENS // width)
    for first in range(0, len(ends), n_rows):
        rows = torch.stack(
            [tokens[end - width : end + 1] for end in ends[first : first + n_rows]]
        )  # (B, T + 1)
        yield Batch(rows[:, :-1], rows[:, 1:], weights[first : first + n_rows])


def compressed(text: str) -> dict[str, float]:
    """Return the bits per byte that general compressors need, by name. They learn from nothing but this text."""
    raw = text.encode()
    return {
        name: 8 * len(compress(raw)) / len(raw)
        for name, compress in (("bz2", bz2.compress), ("xz", lzma.compress))
    }
