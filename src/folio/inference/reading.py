"""Read texts: one pass takes the last token of every text that is being written, and pieces of those that are new."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import CDLL
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from folio.inference.compiled import CompiledGPT
from folio.inference.fused import FusedGPT
from folio.model.cache import CachedContext, KVCache
from folio.model.gpt import GPT
from folio.native.compiler import decoder

ALIKE = 4
"""Products of a multiple of so many rows round each row alike, whatever the multiple, on the processors that folio was
measured on. So a pass is filled up to a multiple: then what a text gives does not depend on how many are beside it."""


@dataclass(eq=False)
class Text:
    """Tokens, and how many of them have been read."""

    ids: list[int]
    """At most `block_size`."""
    slot: int
    """Its row in the cache."""
    n_read: int = 0


AnyText = TypeVar("AnyText", bound=Text)


class Reading(NamedTuple, Generic[AnyText]):
    """What a pass has read: N tokens."""

    hidden_states: Tensor
    """(N, C), for `Reader.logits`."""
    spans: dict[AnyText, tuple[int, int]]
    """Of each text: its first token among the N, and how many there are."""
    ends: list[tuple[AnyText, int]]
    """The texts that have now been read to their end, by slot, each with its last token among the N."""


class _Plan(NamedTuple, Generic[AnyText]):
    """What a pass is to read (see `KVCache.context`), N tokens."""

    ids: list[int]
    slots: list[int]
    positions: list[int]
    spans: dict[AnyText, tuple[int, int]]
    """As in `Reading`."""


class Reader:
    """A model that reads several texts, and the cache of what it has read.

    n_slots: most texts at a time. With one, where there is no company, passes are not filled up (`ALIKE`): that is faster, and
    rounds differently.
    """

    def __init__(self, model: GPT, n_slots: int) -> None:
        self.native: CDLL | None = None
        self._alike = ALIKE if n_slots > 1 else 1
        self._device = model.embedding.weight.device
        self._fused = FusedGPT(model)
        n_rows = _rounded(n_slots, self._alike)
        self.cache = KVCache(model.config, n_rows, 1, model.compute_dtype, self._device)
        self._last: tuple[_Plan[Any], CachedContext, Reading[Any]] | None = None
        """The last pass, if it was one token of each of its texts and the cache has not changed since."""

    def reserve(self, n_columns: int) -> None:
        """Make room for texts of so many tokens."""
        if n_columns > self.cache.n_columns:
            self.cache.reserve(n_columns)
            self._last = None

    def move(self, text: Text, slot: int) -> None:
        """Move a text to a slot where there is none."""
        self.cache.copy(text.slot, slot, text.n_read)
        text.slot = slot
        self._last = None

    def n_rows(self, n_slots: int) -> int:
        """Return how many rows a pass has for texts in the first slots."""
        return _rounded(n_slots, self._alike)

    def read(self, texts: Sequence[AnyText], at_most: int) -> Reading[AnyText]:
        """Read the last token of each text of which no other is left, and pieces of the rest, the first texts first.

        Each text must have a token that has not been read. at_most: tokens of all pieces together.
        """
        reading = self._read_on(texts) or self._read_new(texts, at_most)
        for text, (_, n) in reading.spans.items():
            text.n_read += n
        return reading

    def logits(self, hidden_states: Tensor, tokens: list[int]) -> Tensor:
        """Return the logits after some tokens of a pass: (N, C) -> (len(tokens), V)."""
        if tokens == list(range(hidden_states.shape[0])):
            return self._fused.head(hidden_states)
        filled = tokens + tokens[-1:] * (_rounded(len(tokens), self._alike) - len(tokens))
        return self._fused.head(hidden_states[filled])[: len(tokens)]

    def _read_on(self, texts: Sequence[AnyText]) -> Reading[AnyText] | None:
        """Read the next token of each text of the last pass, if that is what there is to read."""
        if self._last is None:
            return None
        plan, context, reading = self._last
        ids, positions = plan.ids, plan.positions
        if list(plan.spans) != texts or not all(
            len(text.ids) == text.n_read + 1 == positions[text.slot] + 2 for text in texts
        ):
            return None
        for text in texts:
            ids[text.slot] = text.ids[-1]
            positions[text.slot] += 1
        context.advance()
        reading = Reading(self._run(ids, context), reading.spans, reading.ends)
        self._last = plan, context, reading
        return reading

    def _read_new(self, texts: Sequence[AnyText], at_most: int) -> Reading[AnyText]:
        singles = [text for text in texts if len(text.ids) == text.n_read + 1]
        n_single = _rounded(max((text.slot + 1 for text in singles), default=0), self._alike)
        plan: _Plan[AnyText] = _Plan([0] * n_single, [self.cache.unread] * n_single, [0] * n_single, {})
        for text in singles:
            at = text.slot
            plan.ids[at], plan.slots[at], plan.positions[at] = text.ids[-1], at, text.n_read
            plan.spans[text] = (at, 1)
        for text in texts:
            n = min(len(text.ids) - text.n_read, at_most)
            if n and text not in plan.spans:
                plan.spans[text] = (len(plan.ids), n)
                plan.ids.extend(text.ids[text.n_read : text.n_read + n])
                plan.slots.extend([text.slot] * n)
                plan.positions.extend(range(text.n_read, text.n_read + n))
                at_most -= n
        # Fill up with the last token again, which stores the same keys and values in the same place.
        n_more = _rounded(len(plan.ids), self._alike) - len(plan.ids)
        for column in plan[:3]:
            column.extend(column[-1:] * n_more)
        context = self.cache.context(plan.slots, plan.positions, n_single)
        ends = [
            (text, first + n - 1)
            for text, (first, n) in plan.spans.items()
            if text.n_read + n == len(text.ids)
        ]
        ends.sort(key=lambda end: end[0].slot)
        reading = Reading(self._run(plan.ids, context), plan.spans, ends)
        self._last = (plan, context, reading) if len(singles) == len(texts) else None
        return reading

    def _run(self, ids: list[int], context: CachedContext) -> Tensor:
        return self._fused.step(torch.tensor(ids, device=self._device), context)


class CompiledReader:
    """A `Reader` with the compiled decoder, which computes each token alone: nothing is filled up, and a free slot between
    texts costs nothing."""

    def __init__(self, model: GPT, library: CDLL, n_slots: int) -> None:
        self.native: CDLL | None = library
        """It draws, too: `drawing.CompiledDraw`."""
        self._gpt = CompiledGPT(model, library)
        self.cache = KVCache(model.config, n_slots, 1, torch.float32, torch.device("cpu"))
        self._gpt.reserve(self.cache.n_columns)

    def reserve(self, n_columns: int) -> None:
        """Make room for texts of so many tokens."""
        if n_columns > self.cache.n_columns:
            self.cache.reserve(n_columns)
            self._gpt.reserve(self.cache.n_columns)

    def move(self, text: Text, slot: int) -> None:
        """Move a text to a slot where there is none."""
        self.cache.copy(text.slot, slot, text.n_read)
        text.slot = slot

    def n_rows(self, n_slots: int) -> int:
        """Return 0: free slots between the texts take no time."""
        return 0

    def read(self, texts: Sequence[AnyText], at_most: int) -> Reading[AnyText]:
        """Read the last token of each text of which no other is left, and pieces of the rest. See `Reader.read`."""
        plan: _Plan[AnyText] = _Plan([], [], [], {})
        ends = []
        for text in texts:
            left = len(text.ids) - text.n_read
            n = left if left == 1 else min(left, at_most)
            at_most -= n if left > 1 else 0
            if n:
                first = len(plan.ids)
                plan.spans[text] = (first, n)
                plan.ids.extend(text.ids[text.n_read : text.n_read + n])
                plan.slots.extend([text.slot] * n)
                plan.positions.extend(range(text.n_read, text.n_read + n))
                text.n_read += n
                if n == left:
                    ends.append((text, first + n - 1))
        ends.sort(key=lambda end: end[0].slot)
        hidden_states = self._gpt.read(plan.ids, plan.slots, plan.positions, self.cache)
        return Reading(hidden_states, plan.spans, ends)

    def logits(self, hidden_states: Tensor, tokens: list[int]) -> Tensor:
        """Return the logits after some tokens of a pass: (N, C) -> (len(tokens), V)."""
        if tokens != list(range(len(hidden_states))):
            hidden_states = hidden_states[tokens]
        return self._gpt.logits(hidden_states)


def reader_for(model: GPT, n_slots: int) -> Reader | CompiledReader:
    """Return what reads texts with a model, at most `n_slots` at a time: see `compiled_decoder`."""
    library = compiled_decoder(model)
    return Reader(model, n_slots) if library is None else CompiledReader(model, library, n_slots)


def compiled_decoder(model: GPT) -> CDLL | None:
    """Return the library that decodes with a model, or None where PyTorch does: on a GPU, in another precision than
    float32, where `GPT.decoder` says so, and where there is no compiler."""
    if model.decoder == "torch" or model.compute_dtype is not torch.float32:
        return None
    return decoder() if model.embedding.weight.device.type == "cpu" else None


def _rounded(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
