"""Continuous batching: requests join and leave the running batch at every token.

A `Batch` knows token ids only. One thread owns it and calls `step` while it is not idle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from folio.hashing import hash64, uniform
from folio.inference.sampling import SamplingConfig
from folio.model.gpt import GPT
from folio.model.mode import evaluating

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """A prompt to be continued: a row of a batch."""

    ids: Sequence[int]
    """The prompt, at least one token. Of one longer than `block_size` the last tokens are read."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    max_new_tokens: int
    """Most tokens to write. 0: the prompt is read, for its log-probabilities."""
    seed: int = 0
    choice: int = 0
    """The draw of the t-th token is a function of seed, choice and t alone."""
    stop_ids: tuple[int, ...] = ()
    """It ends with the first of these tokens."""
    vocab_size: int | None = None
    """Draw ids below it only. None: any of the model's."""
    presence_penalty: float = 0.0
    """Subtracted from the score of each token that the answer already has."""
    frequency_penalty: float = 0.0
    """The same, as often as the answer has it."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the scores of these tokens."""
    logprob_temperature: float = 1.0
    """Reported log-probabilities are those of softmax(logits / this): 1 for the model's own. Penalties, bias, top_k,
    top_p and min_p have no part in them."""
    top_logprobs: int = 0
    """Number of the likeliest tokens to report at each step."""
    prompt_logprobs: bool = False
    """Report the log-probabilities of the prompt's tokens."""

    def __post_init__(self) -> None:
        if not len(self.ids):
            raise ValueError("a prompt is empty: begin it with a token such as <|bos|>")


@dataclass(frozen=True)
class TokenLogprobs:
    """What the model thought of one token of a text."""

    logprob: float
    """Of the token, in nats (see `Request.logprob_temperature`)."""
    top: tuple[tuple[int, float], ...] = ()
    """The `top_logprobs` likeliest tokens and their log-probabilities, the likeliest first."""


@dataclass(eq=False)
class Row:
    """A request in a batch, from `Batch.add` until it has finished or is canceled."""

    request: Request
    ids: list[int] = field(default_factory=list)
    """Tokens written so far, a stop id included."""
    finish_reason: FinishReason | None = None
    """"stop": it wrote a stop id; "length": it wrote `max_new_tokens` tokens; None before."""
    cached_tokens: int = 0
    """Tokens of the prompt that were not computed for this row, for another one had them. Known with its first event."""
    prompt_logprobs: list[TokenLogprobs | None] | None = None
    """One for each token of the prompt that was read, None for the first, which nothing predicts. Known with the first
    event, where they were asked for."""


@dataclass(frozen=True)
class Event:
    """A row has written a token, or has finished."""

    row: Row
    token: int | None
    """None where no token was asked for (`max_new_tokens` is 0)."""
    logprobs: TokenLogprobs | None
    """Of that token."""
    finish_reason: FinishReason | None
    """Not None with the row's last event."""


class Batch:
    """Rows that are written together by one model.

    Args:
        model: its weights are copied when the batch is made.
        max_rows: most rows that are written at the same time; more wait in the order of `add`.
        prefill_tokens: most tokens of prompts that are read between two steps of the rows that are being written.
        cache_tokens: most tokens of finished rows that are kept, for prompts that begin as they do.
    """

    def __init__(
        self, model: GPT, *, max_rows: int = 32, prefill_tokens: int = 128, cache_tokens: int = 16_384
    ) -> None:
        self._model = model
        self._max_rows = max_rows
        self._rows: list[Row] = []

    @property
    def idle(self) -> bool:
        """Whether no row is waiting, read or written: `step` has nothing to do."""
        return not self._rows

    @property
    def n_running(self) -> int:
        """Rows that have a place: their prompt is being read, or they are being written."""
        return min(len(self._rows), self._max_rows)

    @property
    def n_waiting(self) -> int:
        """Rows that have none yet."""
        return len(self._rows) - self.n_running

    def add(self, request: Request) -> Row:
        """Put a request at the end of the queue and return its row. Raises ValueError for an id that the model lacks."""
        if not 0 <= min(request.ids) <= max(request.ids) < self._model.config.vocab_size:
            raise ValueError(f"a prompt has ids outside 0 to {self._model.config.vocab_size - 1}")
        row = Row(request)
        self._rows.append(row)
        return row

    def cancel(self, row: Row) -> None:
        """Give up the row's place, wherever it is; it gets no more events. Nothing happens if it has finished."""
        if row in self._rows:
            self._rows.remove(row)

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Read a piece of the prompts that wait, and write one token of each row that is running."""
        events = [self._write(row) for row in self._rows[: self._max_rows]]
        self._rows = [row for row in self._rows if row.finish_reason is None]
        return events

    def _write(self, row: Row) -> Event:
        request = row.request
        text = [*request.ids, *row.ids][-self._model.config.block_size :]
        with evaluating(self._model):
            logits = self._model(torch.tensor([text]))[0].float()  # (T, V)
        logprobs = (logits / request.logprob_temperature).log_softmax(-1)
        if request.prompt_logprobs and row.prompt_logprobs is None:
            told = [_told(logprobs[t], text[t + 1], request.top_logprobs) for t in range(len(text) - 1)]
            row.prompt_logprobs = [None, *told]
        if not request.max_new_tokens:
            row.finish_reason = "length"
            return Event(row, None, None, "length")
        token = _draw(row, logits[-1])
        row.ids.append(token)
        if token in request.stop_ids:
            row.finish_reason = "stop"
        elif len(row.ids) == request.max_new_tokens:
            row.finish_reason = "length"
        return Event(row, token, _told(logprobs[-1], token, request.top_logprobs), row.finish_reason)


def _draw(row: Row, logits: Tensor) -> int:
    request, scores = row.request, logits.clone()
    for token, bias in request.logit_bias.items():
        scores[token] += bias
    for token in set(row.ids):
        scores[token] -= request.presence_penalty + request.frequency_penalty * row.ids.count(token)
    scores = scores[: request.vocab_size]
    if request.sampling.is_greedy:
        return int(scores.argmax())
    cumulative = (scores / request.sampling.temperature).softmax(-1).cumsum(-1)
    u = float(uniform(hash64(request.seed, np.array(request.choice)), np.array(len(row.ids))))
    return int(torch.searchsorted(cumulative, cumulative[-1:] * u))


def _told(logprobs: Tensor, token: int, n: int) -> TokenLogprobs:
    values, ids = logprobs.topk(n)
    return TokenLogprobs(float(logprobs[token]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))
