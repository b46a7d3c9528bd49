"""Continuous batching: requests join and leave the running batch at every token.

A `Batch` knows token ids only. One thread owns it, and calls `step` as long as it is not idle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from folio.inference.fused import FusedGPT
from folio.inference.prefix import Prefix, PrefixCache, TokenTable
from folio.inference.sampler import SampledRow, Sampler, TokenLogprobs, token_logprobs
from folio.inference.sampling import RowSampling
from folio.model.cache import KVCache, Part
from folio.model.gpt import GPT

ALIKE = 4
"""Products of so many rows at a time, or of a multiple, round each row alike on the processors that folio was measured on. So
passes are filled up to a multiple: then what a row gives does not depend on how many are beside it."""
TOGETHER = 64
"""Tokens of a prompt that attend in one call: all look at as many columns as the last of them needs."""
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


class _Pass(NamedTuple):
    """The tokens that one pass reads, N of them (see `KVCache.context`)."""

    ids: list[int]
    slots: list[int]
    positions: list[int]
    parts: list[Part]
    places: dict[_Place, tuple[int, int]]
    """Of each place, the first of its tokens among them, and how many there are."""


@dataclass(eq=False)
class _Place:
    """A row that is being read or written, and what the cache holds of it."""

    row: Row
    slot: int
    """Its row in the cache."""
    ids: list[int]
    """The text that the next token continues, `block_size` tokens at most."""
    n_read: int = 0
    """How many of them the cache holds."""
    source: _Place | None = None
    """A row that is about to read what this one needs, and for which it waits."""
    n_shared: int = 0
    """How much that is."""

    @property
    def n_unread(self) -> int:
        return 0 if self.source else len(self.ids) - self.n_read


class Batch:
    """Rows that are written together by one model.

    The same request gives the same tokens and log-probabilities in any company, and whether or not another row had read the
    beginning of its prompt: to the last bit where products round each row alike (see `ALIKE`), else up to rounding.

    Args:
        model: its weights are copied when the batch is made.
        max_rows: most rows at a time; more wait in the order of `add`. With 1, where there is no company, passes are not
            filled up, which is faster and rounds differently.
        prefill_tokens: most tokens of prompts that are read in one step, so that a long prompt does not hold up the others.
        cache_tokens: most tokens of finished rows that are kept, for prompts that begin as they do.
    """

    def __init__(
        self, model: GPT, *, max_rows: int = 32, prefill_tokens: int = 128, cache_tokens: int = 16_384
    ) -> None:
        self._config = model.config
        self._device = model.embedding.weight.device
        self._alike = ALIKE if max_rows > 1 else 1
        self._prefill_tokens = prefill_tokens
        self._fused = FusedGPT(model)
        self._queue: deque[Row] = deque()
        self._slots: list[_Place | None] = [None] * max_rows
        self._places: list[_Place] = []
        """The same in the order in which they came."""
        n_rows = _rounded(max_rows, self._alike)
        self._cache = KVCache(model.config, n_rows, 1, model.compute_dtype, self._device)
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
        if not 0 <= min(request.ids) <= max(request.ids) < self._config.vocab_size:
            raise ValueError(f"a prompt has ids outside 0 to {self._config.vocab_size - 1}")
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
        self._admit()
        self._move_together()
        reads = self._next_pass()
        if not reads.parts:
            return []
        context = self._cache.context(reads.slots, reads.positions, reads.parts)
        hidden_states = self._fused.step(torch.tensor(reads.ids, device=self._device), context)  # (N, C)
        ends: dict[_Place, int] = {}
        for place, (first, n) in reads.places.items():
            if place.row.prompt_logprobs is not None:
                place.row.prompt_logprobs += self._prompt_logprobs(place, hidden_states, first, n)
            place.n_read += n
            if not place.n_unread:
                ends[place] = first + n - 1
        self._share(ends)
        return self._write(hidden_states, dict(sorted(ends.items(), key=lambda end: end[0].slot)))

    def _admit(self) -> None:
        """Give places to the rows that have waited longest."""
        free = [slot for slot, place in enumerate(self._slots) if place is None][: len(self._queue)]
        if not free:
            return
        rows = [self._queue.popleft() for _ in free]
        block_size = self._config.block_size
        columns = max(len(row.request.ids) + row.request.max_new_tokens for row in rows)
        self._cache.reserve(min(columns, block_size))
        for row, slot in zip(rows, free, strict=True):
            place = _Place(row, slot, list(row.request.ids[-block_size:]))
            self._slots[slot] = place
            self._places.append(place)
            self._prompts.put(slot, place.ids)
            if row.request.prompt_logprobs:
                row.prompt_logprobs = [None]
            else:
                self._begin(place)

    def _begin(self, place: _Place) -> None:
        """Take over what others have read of a new row's prompt, or wait for one that is about to read more of it."""
        length = len(place.ids)
        kept, prefix = self._prefixes.find(place.ids)
        kept = min(kept, length - 1)  # the last token is read, for what comes after it
        shared = self._prompts.common(place.ids)
        others = [other for other in self._places if other is not place and not other.source]
        donor = max(others, key=lambda other: min(int(shared[other.slot]), other.n_read), default=None)
        reader = max(others, key=lambda other: int(shared[other.slot]), default=None)
        now = min(int(shared[donor.slot]), donor.n_read, length - 1) if donor else 0
        if reader:
            soon = int(shared[reader.slot])
            is_same = soon == length == len(reader.ids) and reader.n_read < length
            soon = soon if is_same else min(soon, length - 1)
            if is_same or soon - max(now, kept) >= WORTH_WAITING:
                place.source, place.n_shared = reader, soon
                return
        if donor and now > kept:
            self._cache.copy(donor.slot, place.slot, now)
        elif prefix and kept:
            self._cache.load(place.slot, prefix.saved, kept)
        place.n_read = place.row.cached_tokens = max(now, kept)

    def _share(self, ends: dict[_Place, int]) -> None:
        """Give what has been read to the rows that wait for it; to those with the same prompt, what comes after it as well.

        ends: of the places whose text has been read to its end, where that end is among the tokens of the pass.
        """
        for place in self._places:
            source = place.source
            if source and source.n_read >= place.n_shared:
                self._cache.copy(source.slot, place.slot, place.n_shared)
                place.source, place.n_read = None, place.n_shared
                place.row.cached_tokens = place.n_shared
                if not place.n_unread:
                    ends[place] = ends[source]

    def _move_together(self) -> None:
        """Move the rows in the last slots to where others have left, if the pass gets smaller by that."""
        while True:
            last = max(self._places, key=lambda place: place.slot, default=None)
            if last is None or _rounded(last.slot + 1, self._alike) == _rounded(
                len(self._places), self._alike
            ):
                return
            slot = self._slots.index(None)
            self._cache.copy(last.slot, slot, last.n_read)
            self._prompts.move(last.slot, slot)
            self._slots[last.slot], self._slots[slot], last.slot = None, last, slot

    def _next_pass(self) -> _Pass:
        """Choose what to read: the last token of every row that is being written, and a piece of the prompts.

        Where a slot has no token to read something stands in for it, and also behind the last token, for `ALIKE`.
        """
        lanes = [place for place in self._places if place.n_unread == 1]
        n_lanes = _rounded(max((place.slot + 1 for place in lanes), default=0), self._alike)
        reads = _Pass([0] * n_lanes, [self._cache.unread] * n_lanes, [0] * n_lanes, [], {})
        if lanes:
            reads.parts.append(Part(0, n_lanes))
        for place in lanes:
            at = place.slot
            reads.ids[at], reads.slots[at], reads.positions[at] = place.ids[-1], at, place.n_read
            reads.places[place] = (at, 1)
        room = self._prefill_tokens
        for place in self._places:
            n = min(place.n_unread, room)
            if place.n_unread > 1 and n:
                self._add_piece(reads, place, n)
                room -= n
        for column in (reads.ids, reads.slots, reads.positions):
            column += column[-1:] * (_rounded(len(column), self._alike) - len(column))
        if reads.parts:  # The last token again, which stores the same keys and values in the same place.
            reads.parts[-1] = reads.parts[-1]._replace(stop=len(reads.ids))
        return reads

    @staticmethod
    def _add_piece(reads: _Pass, place: _Place, n: int) -> None:
        first, start = len(reads.ids), place.n_read
        reads.ids.extend(place.ids[start : start + n])
        reads.slots.extend([place.slot] * n)
        reads.positions.extend(range(start, start + n))
        reads.places[place] = (first, n)
        for at in range(0, n, TOGETHER):
            reads.parts.append(Part(first + at, first + min(n, at + TOGETHER), place.slot))

    def _prompt_logprobs(
        self, place: _Place, hidden_states: Tensor, first: int, n: int
    ) -> list[TokenLogprobs]:
        """Return how likely the tokens were that follow the n just read, as far as they are the prompt's."""
        targets = place.ids[place.n_read + 1 : place.n_read + n + 1]
        if not targets:
            return []
        request = place.row.request
        logits = self._logits(hidden_states, list(range(first, first + len(targets))))
        tokens = torch.tensor(targets, device=self._device)[:, None]
        top = [request.top_logprobs] * len(targets)
        return token_logprobs(logits.float() / request.logprob_temperature, tokens, top)

    def _logits(self, hidden_states: Tensor, index: list[int]) -> Tensor:
        """Return the logits after some tokens of a pass: (N, C) -> (len(index), V)."""
        if index == list(range(len(hidden_states))):
            return self._fused.head(hidden_states)
        filled = index + index[-1:] * (_rounded(len(index), self._alike) - len(index))
        return self._fused.head(hidden_states[filled])[: len(index)]

    def _write(self, hidden_states: Tensor, ends: dict[_Place, int]) -> list[Event]:
        """Write a token of each place whose text has been read. ends: as in `_share`."""
        events = []
        for place in [place for place in ends if not place.row.request.max_new_tokens]:
            place.row.finish_reason = "length"
            events.append(Event(place.row, None, None, "length"))
            self._free(place)
            del ends[place]
        if not ends:
            return events
        rows = [place.row for place in ends]
        if self._sampler is None or self._sampler[0] != rows:
            sampled = [SampledRow(row.request, row.request.ids, row.ids) for row in rows]
            self._sampler = rows, Sampler(sampled, self._config.vocab_size, self._device)
        tokens, logprobs = self._sampler[1](self._logits(hidden_states, list(ends.values())))
        for place, token, logprob in zip(ends, tokens.tolist(), logprobs, strict=True):
            self._append(place, token)
            events.append(Event(place.row, token, logprob, place.row.finish_reason))
        return events

    def _append(self, place: _Place, token: int) -> None:
        """Add a token to a row, and end the row if that is its last."""
        row, request, block_size = place.row, place.row.request, self._config.block_size
        row.ids.append(token)
        place.ids.append(token)
        if token in request.stop_ids:
            row.finish_reason = "stop"
        elif len(row.ids) >= request.max_new_tokens:
            row.finish_reason = "length"
        if row.finish_reason:
            self._free(place)
        elif len(place.ids) > block_size:
            # The context is full. Keys hold positions and, above the first layer, what they have seen, so none can be
            # dropped or moved. The rest is read again; letting go of a quarter makes that rare.
            place.ids = place.ids[-max(1, block_size * 3 // 4) :]
            place.n_read = 0
            self._prompts.put(place.slot, ())

    def _free(self, place: _Place) -> None:
        """Take a row out of the batch, and keep what was read of it."""
        read = place.ids[: place.n_read]
        if self._prefixes.takes(read):
            self._prefixes.put(Prefix(read, self._cache.save(place.slot, place.n_read)))
        self._slots[place.slot] = None
        self._places.remove(place)
        self._prompts.put(place.slot, ())
        for other in self._places:
            if other.source is place:
                other.source = None
                self._begin(other)


def _rounded(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
