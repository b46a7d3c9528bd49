"""What every endpoint that writes has in common: from prompts and settings to pieces of text."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from folio.hashing import hash64
from folio.inference.batching import Event, FinishReason, Request, Row
from folio.inference.sampling import RowSampling
from folio.server.errors import ApiError
from folio.server.metrics import Metrics
from folio.server.models import Served
from folio.server.streaming import KEEP_ALIVE_SECONDS
from folio.server.text import TextRow, Token
from folio.server.worker import Generation


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a request wants written.

    prompts: ids. n: answers to each. most: most tokens of an answer; None for all that the model's context has room for.
    seed: None for one drawn for each prompt. how: draws and reports; its seed and choice are set for each answer.
    stop: strings before which an answer ends. stop_ids: tokens with which it ends.
    """

    served: Served
    prompts: Sequence[Sequence[int]]
    n: int
    most: int | None
    seed: int | None
    how: RowSampling
    stop: Sequence[str]
    stop_ids: tuple[int, ...]
    prompt_logprobs: bool = False
    shows_end: bool = False
    """Report the stop id with which an answer ends like its other tokens; it has no text."""
    param: str = "prompt"
    """The field that is at fault where a prompt is too long."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is new of an answer: text, the tokens it is made of, and with the last piece why it ends."""

    index: int
    text: str
    tokens: list[Token]
    finish_reason: FinishReason | None
    event: Event


@dataclass
class Written:
    """What is known of an answer so far; in the end all of it."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    row: Row | None = None

    def add(self, piece: Piece) -> None:
        """Add what is new."""
        self.text += piece.text
        self.tokens += piece.tokens
        self.finish_reason = piece.finish_reason
        self.row = piece.event.row


@dataclass
class Usage:
    """Tokens of a request, counted as it is answered."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def to_table(self) -> dict[str, object]:
        """Return the form of chat and completions."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }


def seeds(seed: int, n: int) -> list[int]:
    """Return a seed for each of n answers: the first is the one given, and each repeats its answer alone."""
    return [seed, *(int(hash64(seed, k)) >> 11 for k in range(1, n))]


class Writing:
    """A task in progress.

    seeds: of each answer, in the order of their indexes: all of the first prompt, then of the second.
    """

    def __init__(self, task: Task, metrics: Metrics) -> None:
        first = [secrets.randbits(32) if task.seed is None else task.seed for _ in task.prompts]
        self.task = task
        self.seeds = [each for seed in first for each in seeds(seed, task.n)]
        self.usage = Usage(prompt_tokens=sum(map(len, task.prompts)))
        hidden = () if task.shows_end else task.stop_ids
        self._rows = [TextRow(task.served.vocabulary, task.stop, hidden) for _ in self.seeds]
        self._metrics = metrics.of(task.served.name)
        self._started = self._last = time.perf_counter()
        self._n_open = len(self.seeds)
        self._unread = set(range(len(self.seeds)))
        """Answers of which nothing has come yet."""

    async def pieces(self) -> AsyncGenerator[list[Piece], None]:
        """Queue the answers, and yield what is new as it is written.

        The first list is empty: the answers are queued. Before the first token another one comes every few seconds.
        Raises ApiError where a prompt is too long, or too many wait.
        """
        with self.task.served.worker.generate(self._requests()) as generation:
            try:
                yield []
                async for nothing in self._wait(generation):
                    yield nothing
                async for events in generation:
                    yield self._step(generation, events)
            finally:
                if self._n_open:
                    self._metrics.dropped.inc()

    async def whole(self) -> list[Written]:
        """Write all answers to their ends, and return them. Raises ApiError as `pieces` does."""
        answers = [Written() for _ in self.seeds]
        async for pieces in self.pieces():
            for piece in pieces:
                answers[piece.index].add(piece)
        return answers

    @staticmethod
    async def _wait(generation: Generation) -> AsyncGenerator[list[Piece], None]:
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    await generation.wait()
            except TimeoutError:
                yield []
            else:
                return

    def _step(self, generation: Generation, events: Sequence[tuple[int, Event]]) -> list[Piece]:
        """Return the pieces of what was written since the last time; of an answer that has stopped nothing more."""
        before = self.usage.completion_tokens
        pieces = [
            self._piece(generation, index, event)
            for index, event in events
            if not self._rows[index].has_stopped
        ]
        self._metrics.generation_tokens.inc(self.usage.completion_tokens - before)
        now = time.perf_counter()
        is_first = self._last == self._started
        (self._metrics.first_token if is_first else self._metrics.between_tokens).observe(now - self._last)
        self._last = now
        return pieces

    def _piece(self, generation: Generation, index: int, event: Event) -> Piece:
        row = self._rows[index]
        if index in self._unread:
            self._unread.remove(index)
            self._observe_prompt(index, event)
        self.usage.completion_tokens += event.token is not None
        reason = event.finish_reason
        text, tokens = row.add(event.token, event.logprobs, is_last=reason is not None)
        if row.has_stopped:
            reason = "stop"
            generation.finish(index)
        if reason is not None:
            self._observe_end(reason)
        return Piece(index, text, tokens, reason, event)

    def _requests(self) -> list[Request]:
        task = self.task
        return [
            Request(
                ids=prompt,
                max_new_tokens=self._room(prompt),
                stop_ids=task.stop_ids,
                prompt_logprobs=task.prompt_logprobs,
                **{**vars(task.how), "seed": self.seeds[index * task.n + k]},
            )
            for index, prompt in enumerate(task.prompts)
            for k in range(task.n)
        ]

    def _room(self, prompt: Sequence[int]) -> int:
        """Return the most tokens of an answer. The last of them is never read, and so may lie beyond the context."""
        block_size = self.task.served.model.config.block_size
        if len(prompt) > block_size:
            raise ApiError(
                400,
                f"The prompt has {len(prompt):,} tokens, and {self.task.served.name} reads {block_size:,}: shorten it.",
                self.task.param,
                "context_length_exceeded",
            )
        room = block_size - len(prompt) + 1
        return room if self.task.most is None else min(self.task.most, room)

    def _observe_prompt(self, index: int, event: Event) -> None:
        """Count a prompt, once for all answers to it."""
        if index % self.task.n == 0:
            n, cached = len(self.task.prompts[index // self.task.n]), event.row.cached_tokens
            self.usage.cached_tokens += cached
            self._metrics.prompt_tokens.inc(n)
            self._metrics.prefix_queries.inc(n)
            self._metrics.prefix_hits.inc(cached)

    def _observe_end(self, reason: FinishReason) -> None:
        self._metrics.finished[reason].inc()
        self._n_open -= 1
        if not self._n_open:
            self._metrics.whole.observe(time.perf_counter() - self._started)
