"""Draw a token for each row of a batch, and say how likely it was: with PyTorch on any device, or with one call on a CPU.

Each row draws by inverting its cumulative distribution at a number that is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import CDLL
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from folio.inference.sampling import Kind, Numbers, RowSampling


class TokenLogprobs(NamedTuple):
    """How likely a token was to the model."""

    logprob: float
    """Of the token, in nats (see `RowSampling.logprob_temperature`)."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens, as many as were asked for, and their log-probabilities; the likeliest first."""


class TorchDraw:
    """Draw with PyTorch. hows: of each row (B)."""

    def __init__(self, hows: Sequence[RowSampling], device: torch.device) -> None:
        self._temperature, self._logprob_temperature, *filters = number_columns(hows, device)[:4]
        self._filters = filters
        self._is_same = all(how.numbers.temperature == how.numbers.logprob_temperature for how in hows)
        self._groups = [
            (kind, torch.tensor(places, device=device)) for kind, places in _by_kind(hows).items()
        ]
        """Which rows are of each kind."""

    def __call__(self, logits: Tensor, scores: Tensor, noise: Tensor) -> tuple[Tensor, list[float]]:
        """Draw by scores, and report by the model's own logits.

        logits, scores: (B, V) float32; noise: (B, 1), uniform in (0, 1]. Returns tokens (B) int64, and ln p of each.
        """
        is_plain = scores is logits and self._is_same
        scores = divided(scores, self._temperature)
        tokens = self._draw(scores, noise)
        reported = scores if is_plain else divided(logits, self._logprob_temperature)
        return tokens[:, 0], reported.log_softmax(-1).gather(1, tokens)[:, 0].tolist()

    def _draw(self, scores: Tensor, noise: Tensor) -> Tensor:
        if len(self._groups) == 1:
            return _drawn(self._groups[0][0], scores, noise, *self._filters)
        drawn = torch.empty_like(noise, dtype=torch.int64)
        for kind, rows in self._groups:
            filters = (None if each is None else each[rows] for each in self._filters)
            drawn[rows] = _drawn(kind, scores[rows], noise[rows], *filters)
        return drawn


class CompiledDraw:
    """The same in one call of decoder.c, for logits on the CPU. library: of `native.compiler.decoder`."""

    def __init__(self, hows: Sequence[RowSampling], library: CDLL) -> None:
        self._library = library
        self._hows = np.array(
            [
                (how.kind.vocab_size, 1 if how.kind.is_greedy else how.kind.k or 0, *how.numbers[:4])
                for how in hows
            ],
            dtype=[("vocab_size", "i8"), ("k", "i8"), *((name, "f4") for name in Numbers._fields[:4])],
        )

    def __call__(self, logits: Tensor, scores: Tensor, noise: Tensor) -> tuple[Tensor, list[float]]:
        """Draw by scores, and report by the model's own logits. See `TorchDraw`."""
        n, V = logits.shape
        logits, scores, noise = logits.contiguous(), scores.contiguous(), noise.contiguous()
        tokens = torch.empty(n, dtype=torch.int64, device="cpu")
        logprobs, memory = (torch.empty(size, dtype=torch.float32, device="cpu") for size in (n, 2 * V + 64))
        self._library.folio_draw(
            n,
            V,
            logits.data_ptr(),
            scores.data_ptr(),
            self._hows.ctypes.data,
            noise.data_ptr(),
            memory.data_ptr(),
            tokens.data_ptr(),
            logprobs.data_ptr(),
        )
        return tokens, logprobs.tolist()


def number_columns(hows: Sequence[RowSampling], device: torch.device) -> list[Tensor | None]:
    """Return each of the `Numbers` of the rows, (B, 1), or None where it changes nothing in any."""
    numbers = np.array([how.numbers for how in hows], dtype=np.float32).T  # (numbers, B)
    columns = torch.from_numpy(numbers).to(device).unsqueeze(2).unbind()
    return [
        None if (values == neutral).all() else column
        for values, neutral, column in zip(numbers, Numbers(), columns, strict=True)
    ]


def divided(scores: Tensor, by: Tensor | None) -> Tensor:
    """Return scores / by, where there is anything to divide by."""
    return scores if by is None else scores / by


def token_logprobs(scores: Tensor, tokens: Tensor, top: Sequence[int]) -> list[TokenLogprobs]:
    """Return how likely tokens are under softmax(scores).

    scores: (B, V) float32; tokens: (B, 1) int64; top: how many of the likeliest tokens to report with each of them.
    """
    logprobs = scores.log_softmax(-1)
    own = logprobs.gather(1, tokens)[:, 0].tolist()
    n_top = min(max(top), logprobs.shape[1])
    if not n_top:
        return [TokenLogprobs(logprob) for logprob in own]
    best, ids = (each.tolist() for each in logprobs.topk(n_top))
    return [
        TokenLogprobs(logprob, tuple(zip(ids[row][:n], best[row][:n], strict=True)))
        for row, (logprob, n) in enumerate(zip(own, top, strict=True))
    ]


def _by_kind(hows: Sequence[RowSampling]) -> dict[Kind, list[int]]:
    """Return the places of the rows of each kind."""
    places: dict[Kind, list[int]] = {}
    for place, how in enumerate(hows):
        places.setdefault(how.kind, []).append(place)
    return places


def _drawn(
    kind: Kind, scores: Tensor, noise: Tensor, top_p: Tensor | None, log_min_p: Tensor | None
) -> Tensor:
    """Draw a token for each row of one kind.

    scores: (n, V); noise: (n, 1), uniform in (0, 1]; top_p, log_min_p: (n, 1), or None where no row has one. Returns (n, 1).
    """
    scores = scores[:, : kind.vocab_size]
    if kind.is_greedy:
        return scores.argmax(-1, keepdim=True)
    if kind.k is None:
        return _inverse_cdf(scores, noise)
    scores, ids = scores.topk(min(kind.k, scores.shape[1]))
    if top_p is not None:
        scores = _nucleus(scores, top_p)
    if log_min_p is not None:
        scores = scores.masked_fill(scores < scores[:, :1] + log_min_p, -torch.inf)
    return ids.gather(1, _inverse_cdf(scores, noise))


def _inverse_cdf(scores: Tensor, noise: Tensor) -> Tensor:
    """Return the first place at which the cumulative probability reaches a share of the whole, 0 < share <= 1.

    It exists, and it is none of probability 0, whatever rounding does. scores: (n, K); noise: (n, 1). Returns (n, 1).
    """
    cumulative = scores.softmax(-1).cumsum(-1)
    return torch.searchsorted(cumulative, cumulative[:, -1:] * noise)


def _nucleus(scores: Tensor, top_p: Tensor) -> Tensor:
    probabilities = scores.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    ruled_out = before >= top_p
    ruled_out[:, 0] = False  # the likeliest always stays
    return scores.masked_fill(ruled_out, -torch.inf)
