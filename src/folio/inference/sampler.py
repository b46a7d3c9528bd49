"""From scores to draws, reproducible row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from ctypes import CDLL
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from folio.hashing import hash64, uniform
from folio.inference.drawing import (
    CompiledDraw,
    TokenLogprobs,
    TorchDraw,
    divided,
    number_columns,
    token_logprobs,
)
from folio.inference.sampling import RowSampling


class SampledRow(NamedTuple):
    """A row whose next tokens are to be drawn."""

    how: RowSampling
    prompt: Sequence[int] = ()
    written: Sequence[int] = ()


class Sampler:
    """Draw a token for each row of a batch, again and again, as long as its rows stay the same.

    Whatever a row's result depends on is its own: it is the same, to the last bit, whatever rows are beside it.

    vocab_size: of the model (V). library: of `native.compiler.decoder`, for logits on the CPU: it draws faster, and the
    same but for draws between two tokens that rounding decides.
    """

    def __init__(
        self,
        rows: Sequence[SampledRow],
        vocab_size: int,
        device: torch.device,
        library: CDLL | None = None,
    ) -> None:
        hows = [row.how for row in rows]
        self._draw = TorchDraw(hows, device) if library is None else CompiledDraw(hows, library)
        columns = number_columns(hows, device)
        self._logprob_temperature, penalties = columns[1], columns[4:]
        self._bias = _bias(hows, vocab_size, device)
        self._history = None
        if any(penalty is not None for penalty in penalties):
            self._history = _History(rows, penalties, vocab_size, device)
        self._noise = _Noise(rows, device)
        self._top = [how.top_logprobs for how in hows]

    def __call__(self, logits: Tensor) -> tuple[Tensor, list[TokenLogprobs]]:
        """Draw a token for each row and report how likely it was.

        logits: (B, V) of any precision. Returns tokens (B) int64, and a report of each. Raises FloatingPointError where logits
        are NaN.
        """
        logits = logits.float()
        scores = logits if self._bias is None else logits + self._bias
        if self._history is not None:
            scores = self._history.penalize(scores)
        tokens, logprobs = self._draw(logits, scores, self._noise.next())
        if self._history is not None:
            self._history.add(tokens[:, None])
        if any(map(math.isnan, logprobs)):
            raise FloatingPointError("the model's logits are not numbers")
        if not any(self._top):
            return tokens, [TokenLogprobs(logprob) for logprob in logprobs]
        reports = token_logprobs(divided(logits, self._logprob_temperature), tokens[:, None], self._top)
        told = zip(tokens.tolist(), logprobs, reports, strict=True)
        return tokens, [TokenLogprobs(own, _with(report.top, token, own)) for token, own, report in told]


def _with(top: Sequence[tuple[int, float]], token: int, own: float) -> tuple[tuple[int, float], ...]:
    """Return the likeliest tokens with the log-probability that is told of the drawn one, also where that rounds otherwise."""
    return tuple((each, own if each == token else logprob) for each, logprob in top)


class _Noise:
    """Uniform numbers in (0, 1]: that of a row's t-th token is a function of its seed, its choice and t."""

    BLOCK = 16
    """Tokens whose numbers are computed at once, for each computation has a fixed cost."""

    def __init__(self, rows: Sequence[SampledRow], device: torch.device) -> None:
        seeds = np.array([row.how.seed % 2**64 for row in rows], dtype=np.uint64)
        self._keys = hash64(seeds, np.array([row.how.choice for row in rows]))[:, None]
        self._first = np.array([len(row.written) for row in rows])[:, None]
        """(B, 1), t of the first number of the next block."""
        self._device = device
        self._columns: list[Tensor] = []
        """(B, 1) each, the next one last."""

    def next(self) -> Tensor:
        """Return the numbers of the rows' next tokens: (B, 1)."""
        if not self._columns:
            block = uniform(self._keys, self._first + np.arange(self.BLOCK - 1, -1, -1))
            self._columns = list(torch.from_numpy(block).to(self._device).unsqueeze(2).unbind(1))
            self._first += self.BLOCK
        return self._columns.pop()


class _History:
    """The tokens that rows have had before, which makes them less likely.

    penalties: for repetition, presence and frequency, (B, 1) each, or None where no row has one.
    """

    def __init__(
        self,
        rows: Sequence[SampledRow],
        penalties: Sequence[Tensor | None],
        vocab_size: int,
        device: torch.device,
    ) -> None:
        self._repetition, self._presence, self._frequency = penalties
        seen = np.zeros((len(rows), vocab_size), dtype=bool)
        counts = np.zeros((len(rows), vocab_size), dtype=np.float32)
        for number, row in enumerate(rows):
            seen[number, [*row.prompt, *row.written]] = True
            np.add.at(counts[number], np.array(row.written, dtype=np.int64), 1)
        self._seen, self._counts = (torch.from_numpy(each).to(device) for each in (seen, counts))

    def penalize(self, scores: Tensor) -> Tensor:
        """Return scores (B, V) less what the penalties take from them."""
        if self._repetition is not None:
            less = torch.where(scores > 0, scores / self._repetition, scores * self._repetition)
            scores = torch.where(self._seen, less, scores)
        if self._presence is not None:
            scores = scores - self._presence * (self._counts > 0)
        if self._frequency is not None:
            scores = scores - self._frequency * self._counts
        return scores

    def add(self, tokens: Tensor) -> None:
        """Take note of the tokens just drawn: (B, 1)."""
        self._seen.scatter_(1, tokens, True)
        self._counts.scatter_add_(1, tokens, torch.ones_like(tokens, dtype=torch.float32))


def _bias(hows: Sequence[RowSampling], vocab_size: int, device: torch.device) -> Tensor | None:
    """Return what is added to the scores, (B, V), or None where nothing is."""
    if not any(how.logit_bias for how in hows):
        return None
    bias = np.zeros((len(hows), vocab_size), dtype=np.float32)
    for row, how in zip(bias, hows, strict=True):
        row[list(how.logit_bias)] = list(how.logit_bias.values())
    return torch.from_numpy(bias).to(device)
