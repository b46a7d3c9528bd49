"""From scores to draws, reproducible row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from folio.hashing import hash64, uniform
from folio.inference.sampling import Kind, Numbers, RowSampling


class TokenLogprobs(NamedTuple):
    """How likely a token was to the model."""

    logprob: float
    """Of the token, in nats (see `RowSampling.logprob_temperature`)."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens, as many as were asked for, and their log-probabilities; the likeliest first."""


class SampledRow(NamedTuple):
    """A row whose next tokens are to be drawn."""

    how: RowSampling
    prompt: Sequence[int] = ()
    written: Sequence[int] = ()


class Sampler:
    """Draw a token for each row of a batch, again and again, as long as its rows stay the same.

    Whatever a row's result depends on is its own: it is the same, to the last bit, whatever rows are beside it.

    vocab_size: of the model (V).
    """

    def __init__(self, rows: Sequence[SampledRow], vocab_size: int, device: torch.device) -> None:
        hows = [row.how for row in rows]
        numbers = np.array([how.numbers for how in hows], dtype=np.float32).T  # (numbers, B)
        columns = torch.from_numpy(numbers).to(device).unsqueeze(2).unbind()  # (B, 1) each
        used = [
            None if (values == neutral).all() else column
            for values, neutral, column in zip(numbers, Numbers(), columns, strict=True)
        ]
        self._temperature, self._logprob_temperature, top_p, log_min_p, *penalties = used
        self._bias = _bias(hows, vocab_size, device)
        self._history = None
        if any(penalty is not None for penalty in penalties):
            self._history = _History(rows, penalties, vocab_size, device)
        self._draws_from_reported = (
            self._bias is None and self._history is None and bool((numbers[0] == numbers[1]).all())
        )
        self._groups = [
            (kind, torch.tensor(places, device=device)) for kind, places in _by_kind(hows).items()
        ]
        """Which rows are of each kind."""
        self._filters = top_p, log_min_p
        self._noise = _Noise(rows, device)
        self._top = [how.top_logprobs for how in hows]

    def __call__(self, logits: Tensor) -> tuple[Tensor, list[TokenLogprobs]]:
        """Draw a token for each row and report how likely it was.

        logits: (B, V) of any precision. Returns tokens (B) int64, and a report of each.
        """
        logits = logits.float()
        scores = logits if self._bias is None else logits + self._bias
        if self._history is not None:
            scores = self._history.penalize(scores)
        scores = _divided(scores, self._temperature)
        tokens = self._draw(scores)
        if self._history is not None:
            self._history.add(tokens)
        reported = scores if self._draws_from_reported else _divided(logits, self._logprob_temperature)
        return tokens[:, 0], token_logprobs(reported, tokens, self._top)

    def _draw(self, scores: Tensor) -> Tensor:
        """Draw a token for each row: (B, V) -> (B, 1)."""
        noise = self._noise.next()
        if len(self._groups) == 1:
            return _draw(self._groups[0][0], scores, noise, *self._filters)
        drawn = torch.empty_like(noise, dtype=torch.int64)
        for kind, rows in self._groups:
            filters = (None if each is None else each[rows] for each in self._filters)
            drawn[rows] = _draw(kind, scores[rows], noise[rows], *filters)
        return drawn


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


def _draw(
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


def _divided(scores: Tensor, by: Tensor | None) -> Tensor:
    return scores if by is None else scores / by


def _bias(hows: Sequence[RowSampling], vocab_size: int, device: torch.device) -> Tensor | None:
    """Return what is added to the scores, (B, V), or None where nothing is."""
    if not any(how.logit_bias for how in hows):
        return None
    bias = np.zeros((len(hows), vocab_size), dtype=np.float32)
    for row, how in zip(bias, hows, strict=True):
        row[list(how.logit_bias)] = list(how.logit_bias.values())
    return torch.from_numpy(bias).to(device)
