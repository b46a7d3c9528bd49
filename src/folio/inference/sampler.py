"""From scores to draws, reproducible row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from folio.hashing import hash64, uniform
from folio.inference.sampling import RowSampling


class TokenLogprobs(NamedTuple):
    """How likely a token was to the model."""

    logprob: float
    """Of the token, in nats (see `RowSampling.logprob_temperature`)."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens, as many as were asked for, and their log-probabilities; the likeliest first."""


class SampledRow(NamedTuple):
    """A row whose next tokens are to be drawn."""

    how: RowSampling
    prompt: Sequence[int]
    written: Sequence[int]


class Sampler:
    """Draw a token for each row of a batch, again and again, as long as its rows stay the same.

    Whatever a row's result depends on is its own: it is the same, to the last bit, whatever rows are beside it.

    vocab_size: of the model (V).
    """

    def __init__(self, rows: Sequence[SampledRow], vocab_size: int, device: torch.device) -> None:
        hows = [row.how for row in rows]
        self._top = [how.top_logprobs for how in hows]
        temperatures = [1.0 if how.sampling.is_greedy else how.sampling.temperature for how in hows]
        reported = [how.logprob_temperature for how in hows]
        self._temperature = _column(temperatures, 1.0, device)
        self._logprob_temperature = _column(reported, 1.0, device)
        self._bias = _bias(hows, vocab_size, device)
        self._history = _History(rows, vocab_size, device) if any(map(_looks_back, hows)) else None
        self._draws_from_reported = temperatures == reported and self._bias is None and self._history is None
        members: dict[_Kind, list[int]] = {}
        for place, how in enumerate(hows):
            members.setdefault(_Kind.of(how, vocab_size), []).append(place)
        self._groups = [
            _Group(kind, [hows[place] for place in places], torch.tensor(places, device=device))
            for kind, places in members.items()
        ]
        self._noise = _Noise(rows, device)

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
            return self._groups[0].draw(scores, noise)
        tokens = torch.empty_like(noise, dtype=torch.int64)
        for group in self._groups:
            tokens[group.rows] = group.draw(scores[group.rows], noise[group.rows])
        return tokens


def token_logprobs(scores: Tensor, tokens: Tensor, top: Sequence[int]) -> list[TokenLogprobs]:
    """Return how likely tokens are under softmax(scores).

    scores: (B, V) float32; tokens: (B, 1) int64; top: how many of the likeliest tokens to report with each of them.
    """
    logprobs = scores.log_softmax(-1)
    own = logprobs.gather(1, tokens)[:, 0].tolist()
    if not any(top):
        return [TokenLogprobs(logprob) for logprob in own]
    best, ids = (each.tolist() for each in logprobs.topk(min(max(top), logprobs.shape[1])))
    return [
        TokenLogprobs(logprob, tuple(zip(ids[row][:n], best[row][:n], strict=True)))
        for row, (logprob, n) in enumerate(zip(own, top, strict=True))
    ]


class _Kind(NamedTuple):
    """What must be the same for rows to be drawn in one operation, which is what makes their results independent."""

    is_greedy: bool
    k: int | None
    """Candidates, the likeliest first; None: all, in the order of their ids."""
    vocab_size: int

    @classmethod
    def of(cls, how: RowSampling, vocab_size: int) -> _Kind:
        config, size = how.sampling, min(how.vocab_size or vocab_size, vocab_size)
        is_whole = config.top_k is None and config.top_p == 1 and config.min_p == 0
        k = None if is_whole or config.is_greedy else min(config.top_k or size, size)
        return cls(config.is_greedy, k, size)


class _Group:
    """Rows of one kind. rows: (n) int64, their places in the batch."""

    def __init__(self, kind: _Kind, hows: Sequence[RowSampling], rows: Tensor) -> None:
        self.rows = rows
        self._kind = kind
        # Where a filter is off, its bound is beyond all values: rounding must not rule out anything there.
        top_p = [how.sampling.top_p if how.sampling.top_p < 1 else math.inf for how in hows]
        margin = [math.log(how.sampling.min_p) if how.sampling.min_p else -math.inf for how in hows]
        self._top_p = _column(top_p, math.inf, rows.device)
        self._margin = _column(margin, -math.inf, rows.device)

    def draw(self, scores: Tensor, noise: Tensor) -> Tensor:
        """Draw a token for each row. scores: (n, V); noise: (n, 1), uniform in (0, 1]. Returns (n, 1)."""
        scores = scores[:, : self._kind.vocab_size]
        if self._kind.is_greedy:
            return scores.argmax(-1, keepdim=True)
        if self._kind.k is None:
            return _inverse_cdf(scores, noise)
        scores, ids = scores.topk(self._kind.k)
        if self._top_p is not None:
            scores = _nucleus(scores, self._top_p)
        if self._margin is not None:
            scores = scores.masked_fill(scores < scores[:, :1] + self._margin, -torch.inf)
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
        """(B, 1), t of the first column of the next block."""
        self._device = device
        self._columns: list[Tensor] = []

    def next(self) -> Tensor:
        """Return the numbers of the rows' next tokens: (B, 1)."""
        if not self._columns:
            block = uniform(self._keys, self._first + np.arange(self.BLOCK))
            self._columns = list(torch.from_numpy(block).to(self._device)[:, :, None].unbind(1))[::-1]
            self._first += self.BLOCK
        return self._columns.pop()


class _History:
    """The tokens that rows have had before, where that makes them less likely."""

    def __init__(self, rows: Sequence[SampledRow], vocab_size: int, device: torch.device) -> None:
        hows = [row.how for row in rows]
        # In a table as wide as the vocabulary, counting is one operation.
        self._seen = torch.zeros(len(rows), vocab_size, dtype=torch.bool)
        counts = np.zeros((len(rows), vocab_size), dtype=np.float32)
        for row, seen, count in zip(rows, self._seen, counts, strict=True):
            seen[torch.tensor([*row.prompt, *row.written], dtype=torch.int64)] = True
            np.add.at(count, list(row.written), 1)
        self._seen, self._counts = self._seen.to(device), torch.from_numpy(counts).to(device)
        self._repetition = _column([how.sampling.repetition_penalty for how in hows], 1.0, device)
        self._presence = _column([how.presence_penalty for how in hows], 0.0, device)
        self._frequency = _column([how.frequency_penalty for how in hows], 0.0, device)

    def penalize(self, scores: Tensor) -> Tensor:
        """Return scores (B, V) less what each row's penalties take from them."""
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


def _looks_back(how: RowSampling) -> bool:
    return bool(how.sampling.repetition_penalty != 1 or how.presence_penalty or how.frequency_penalty)


def _column(values: Sequence[float], neutral: float, device: torch.device) -> Tensor | None:
    """Return a value for each row, (B, 1), or None where all are neutral."""
    if all(value == neutral for value in values):
        return None
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None]


def _divided(scores: Tensor, by: Tensor | None) -> Tensor:
    return scores if by is None else scores / by


def _bias(hows: Sequence[RowSampling], vocab_size: int, device: torch.device) -> Tensor | None:
    """Return what is added to the scores, (B, V), or None where nothing is."""
    if not any(how.logit_bias for how in hows):
        return None
    bias = torch.zeros(len(hows), vocab_size)
    for row, how in zip(bias, hows, strict=True):
        row[torch.tensor(list(how.logit_bias), dtype=torch.int64)] = torch.tensor(
            list(how.logit_bias.values())
        )
    return bias.to(device)
