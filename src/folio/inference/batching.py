"""Continuous batching: requests join and leave the running batch at every token.

A `Batch` knows token ids only. One thread owns it, and calls `step` as long as it is not idle.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from folio.inference.drawing import TokenLogprobs, token_logprobs
from folio.inference.prefix import Prefix, PrefixCache, TokenTable
from folio.inference.reading import Reading, Text, reader_for
from folio.inference.sampler import SampledRow, Sampler
from folio.inference.sampling import RowSampling
from folio.model.gpt import GPT

COLUMNS = 1024
"""Tokens of a row for which there is room at first, where it may have as many. Room for more is made as it is needed: most
answers end long before a context of 100,000 tokens does, and room for that in every row is more than a machine has."""
CACHE_TOKENS = 16_384
"""Tokens of finished rows that are kept, unless told otherwise."""
WORTH_WAITING = 16
"""Tokens that another row must be about to read, so that waiting for them is better than reading them too."""

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, kw_only=True)
class Request(RowSampling):
    """A prompt to be continued: a row of a batch."""

    ids: Sequence[int]
    """The prompt, at least one token. Of one longer than `block_size` the last tokens are read."""
    max_new_tokens: int
    """Most tokens to write. 0: the prompt is read, for its log-probabilities."""
    stop_ids: tuple[int, ...] = ()
    """It ends with the first of these tokens."""
    prompt_logprobs: bool = False
    """Report how likely each token of the prompt was. Then nothing that another row has read is used."""

    def __post_init__(self) -> None:
        if not len(self.ids):
            raise ValueError("a prompt is empty: begin it with a token such as <|bos|>")


@dataclass(eq=False)
class Row:
    """A request in a batch, from `Batch.add` until it has finished or is canceled."""

    request: Request
    ids: list[int] = field(default_factory=list)
    """Tokens written so far, a stop id included."""
    finish_reason: FinishReason | None = None
    """"stop": it wrote a stop id; "length": it wrote `max_new_tokens` tokens; None before."""
    cached_tokens: int = 0
    """Tokens of the prompt that were not read for this row, as another one had read them. Known with its first event."""
    prompt_logprobs: list[TokenLogprobs | None] | None = None
    """One for each token of the prompt, as far as it fits `block_size`; None for the first, which nothing predicts. Known
    with the first event, where they were asked for."""


class Event(NamedTuple):
    """A row has written a token, or has finished."""

    row: Row
    token: int | None
    """None where none was asked for (`max_new_tokens` is 0)."""
    logprobs: TokenLogprobs | None
    """Of that token."""
    finish_reason: FinishReason | None
    """Not None with the row's last event."""


@dataclass(eq=False)
class _Place(Text):
    """A row that has a place: its text is being read, or written."""

    row: Row = field(kw_only=True)
    source: _Place | None = None
    """Another one that is about to read what this one begins with, and for which it waits."""
    n_shared: int = 0
    """How many tokens that is."""


class Batch:
    """Rows that are written together by one model.

    The same request gives the same tokens and log-probabilities in any company, and whether or not another row had read the
    beginning of its prompt: to the last bit with the compiled decoder; with PyTorch where products round each row alike (see
    `reading.ALIKE`), else up to rounding.

    Args:
        model: its weights are copied when the batch is made.
        max_rows: most rows at a time; more wait in the order of `add`. With 1, where there is no company, PyTorch's passes
            are not filled up, which is faster and rounds differently.
        prefill_tokens: most tokens of prompts that are read in one step, so that a long prompt does not hold up the others.
        cache_tokens: most tokens of finished rows that are kept, for prompts that begin as they do.
    """

    def __init__(
        self, model: GPT, *, max_rows: int = 32, prefill_tokens: int = 128, cache_tokens: int = CACHE_TOKENS
    ) -> None:
        self._config = model.config
        self._device = model.embedding.weight.device
        self._prefill_tokens = prefill_tokens
        self._reader = reader_for(model, max_rows)
        self._queue: deque[Row] = deque()
        self._places: list[_Place] = []
        """In the order in which they came."""
        self._free_slots = list(range(max_rows))
        """The first ones first."""
        self._prompts = TokenTable(max_rows)
        """Of the places, by slot."""
        self._prefixes = PrefixCache(cache_tokens)
        self._sampler: tuple[list[Row], Sampler] | None = None
        """The last one, and its rows."""

    @property
    def idle(self) -> bool:
        """Whether no row is waiting, read or written: `step` has nothing to do."""
        return not (self._places or self._queue)

    @property
    def n_running(self) -> int:
        """Rows that are being read or written."""
        return len(self._places)

    @property
    def n_waiting(self) -> int:
        """Rows that wait for a place."""
        return len(self._queue)

    @property
    def n_cached_tokens(self) -> int:
        """Tokens of finished rows that are kept."""
        return self._prefixes.n_tokens

    def add(self, request: Request) -> Row:
        """Put a request at the end of the queue, and return its row. Raises ValueError for an id that the model lacks."""
        for what, ids in (("a prompt", request.ids), ("logit_bias", request.logit_bias)):
            if len(ids) and not 0 <= min(ids) <= max(ids) < self._config.vocab_size:
                raise ValueError(f"{what} has ids outside 0 to {self._config.vocab_size - 1}")
        row = Row(request)
        self._queue.append(row)
        return row

    @torch.inference_mode()
    def cancel(self, row: Row) -> None:
        """Give up the row's place, wherever it is; it has no more events. Nothing happens if it has finished."""
        if row in self._queue:
            self._queue.remove(row)
        for place in self._places:
            if place.row is row:
                self._free(place)
                break

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Read a piece of the prompts that wait, and write a token of each row whose prompt has been read."""
        if self._queue and self._free_slots:
            self._admit()
        self._move_together()
        texts = [place for place in self._places if not place.source]
        if not texts:
            return []
        if max(len(place.ids) for place in texts) > (n_columns := self._reader.cache.n_columns):
            self._reader.reserve(min(2 * n_columns, self._config.block_size))
        reading = self._reader.read(texts, self._prefill_tokens)
        for place in texts:
            if place.row.prompt_logprobs is not None:
                self._add_prompt_logprobs(place, reading)
        ends = reading.ends
        if len(texts) < len(self._places):
            ends = sorted(self._share(ends), key=lambda end: end[0].slot)
        return self._write(ends, reading.hidden_states)

    def _admit(self) -> None:
        """Give places to the rows that have waited longest."""
        rows = [self._queue.popleft() for _ in range(min(len(self._queue), len(self._free_slots)))]
        slots, self._free_slots = self._free_slots[: len(rows)], self._free_slots[len(rows) :]
        block_size = self._config.block_size
        sizes = [len(row.request.ids) + row.request.max_new_tokens for row in rows]
        longest = max(len(row.request.ids) for row in rows)
        self._reader.reserve(min(max(longest, min(max(sizes), COLUMNS)), block_size))
        # By length, since neighbors attend together.
        slot_of = dict(zip(sorted(range(len(rows)), key=sizes.__getitem__), slots, strict=True))
        for number, row in enumerate(rows):
            place = _Place(list(row.request.ids[-block_size:]), slot_of[number], row=row)
            self._places.append(place)
            self._prompts.put(place.slot, place.ids)
            if row.request.prompt_logprobs:
                row.prompt_logprobs = [None]
            else:
                self._begin(place)

    def _begin(self, place: _Place) -> None:
        """Take over what others have read of a row's prompt, or wait for one before it that is about to read more of it."""
        length = len(place.ids)
        kept, prefix = self._prefixes.find(place.ids)
        kept = min(kept, length - 1)  # the last token is read, for what comes after it
        shared = self._prompts.common(place.ids).tolist()
        # It is none of these itself, for it has read nothing yet.
        donors = [other for other in self._places if shared[other.slot] > kept < other.n_read]
        donor = max(donors, key=lambda other: min(shared[other.slot], other.n_read), default=None)
        now = min(shared[donor.slot], donor.n_read, length - 1) if donor else kept
        enough = min(now + WORTH_WAITING, length)
        before = self._places[: self._places.index(place)]
        readers = [other for other in before if shared[other.slot] >= enough]
        if readers:
            reader = max(readers, key=lambda other: shared[other.slot])
            soon = shared[reader.slot]
            is_same = soon == length == len(reader.ids) and reader.n_read < length
            soon = soon if is_same else min(soon, length - 1)
            if is_same or soon - now >= WORTH_WAITING:
                place.source, place.n_shared = reader, soon
                return
        if donor:
            self._reader.cache.copy(donor.slot, place.slot, now)
        elif prefix and kept:
            self._reader.cache.load(place.slot, prefix.saved, kept)
        place.n_read = place.row.cached_tokens = now

    def _share(self, ends: Sequence[tuple[_Place, int]]) -> list[tuple[_Place, int]]:
        """Give what has been read to the rows that wait for it.

        ends: as in `Reading`. Returns them with the rows whose whole prompt another one has read, which end where it does.
        """
        tokens = dict(ends)
        for place in self._places:
            source, n = place.source, place.n_shared
            if source and source.n_read >= n:
                self._reader.cache.copy(source.slot, place.slot, n)
                place.source, place.n_read, place.row.cached_tokens = None, n, n
                if n == len(place.ids):
                    tokens[place] = tokens[source]
        return list(tokens.items())

    def _move_together(self) -> None:
        """Move rows from the last slots to where others have left, as far as that makes the pass smaller."""
        while self._free_slots and self._free_slots[0] < len(self._places):
            last = max(self._places, key=lambda place: place.slot)
            n_rows = self._reader.n_rows(last.slot + 1)
            if n_rows == self._reader.n_rows(len(self._places)):
                return
            slot = self._free_slots.pop(0)
            self._prompts.move(last.slot, slot)
            insort(self._free_slots, last.slot)
            self._reader.move(last, slot)

    def _add_prompt_logprobs(self, place: _Place, reading: Reading[_Place]) -> None:
        """Report how likely the tokens were that follow those just read, as far as they are the prompt's."""
        row = place.row
        first, n = reading.spans.get(place, (0, 0))
        targets = place.ids[place.n_read - n + 1 : place.n_read + 1]
        if row.ids or row.prompt_logprobs is None or not targets:
            return
        logits = self._reader.logits(reading.hidden_states, list(range(first, first + len(targets))))
        scores = logits.float() / row.request.logprob_temperature
        tokens = torch.tensor(targets, device=self._device)[:, None]
        row.prompt_logprobs += token_logprobs(scores, tokens, [row.request.top_logprobs] * len(targets))

    def _write(self, ends: Sequence[tuple[_Place, int]], hidden_states: Tensor) -> list[Event]:
        """Write a token of each row whose text has been read. ends, hidden_states: as in `Reading`."""
        events = []
        for place, _ in ends:
            if not place.row.request.max_new_tokens:
                place.row.finish_reason = "length"
                events.append(Event(place.row, None, None, "length"))
                self._free(place)
        ends = [end for end in ends if not end[0].row.finish_reason] if events else ends
        if not ends:
            return events
        rows = [place.row for place, _ in ends]
        if self._sampler is None or self._sampler[0] != rows:
            sampled = [SampledRow(row.request, row.request.ids, row.ids) for row in rows]
            self._sampler = (
                rows,
                Sampler(sampled, self._config.vocab_size, self._device, self._reader.native),
            )
        tokens, logprobs = self._sampler[1](self._reader.logits(hidden_states, [end[1] for end in ends]))
        for (place, _), row, token, logprob in zip(ends, rows, tokens.tolist(), logprobs, strict=True):
            row.ids.append(token)
            place.ids.append(token)
            if token in row.request.stop_ids:
                row.finish_reason = "stop"
            elif len(row.ids) >= row.request.max_new_tokens:
                row.finish_reason = "length"
            events.append(Event(row, token, logprob, row.finish_reason))
            if row.finish_reason:
                self._free(place)
            elif len(place.ids) > self._config.block_size:
                self._forget(place)
        return events

    def _forget(self, place: _Place) -> None:
        """Let go of the oldest quarter of a text that has filled the context.

        Keys hold positions and, above the first layer, what they have seen, so none can be dropped or moved: the rest is
        read again. Letting go of so much makes that rare.
        """
        place.ids = place.ids[-max(1, self._config.block_size * 3 // 4) :]
        place.n_read = 0
        self._prompts.put(place.slot, ())

    def _free(self, place: _Place) -> None:
        """Take a row out of the batch, and keep what was read of it."""
        read = place.ids[: place.n_read]
        if self._prefixes.takes(read):
            self._prefixes.put(Prefix(read, self._reader.cache.save(place.slot, place.n_read)))
        self._places.remove(place)
        self._prompts.put(place.slot, ())
        insort(self._free_slots, place.slot)
        for other in self._places:
            if other.source is place:
                other.source = None
                self._begin(other)
