"""Preferences from files: two answers to the same prompt, of which one is better."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from folio.batch import Completions, Uncounted
from folio.data.characters import require_known
from folio.data.columns import Record, answers_of
from folio.data.fields import parse_rows, report
from folio.data.order import OrderedSource, permute, visit
from folio.data.records import Kind, Records, read_records
from folio.data.rows import Row
from folio.errors import FolioWarning, UserError
from folio.hashing import hash64
from folio.tokenizer.chat_template import Message, check_messages, completion_ids, prompt_ids
from folio.tokenizer.protocol import Tokenizer

GROUPED_BATCHES = 16
"""Batches whose pairs are sorted by length together: padding costs as much as text, and order still matters little."""


TRAIN_FILE, VALIDATION_FILE = "train.jsonl", "validation.jsonl"
"""What `folio label` writes."""


@dataclass(frozen=True)
class Preference:
    """A preference between two answers.

    prompt: the conversation up to a user's turn. chosen, rejected: two answers to it.
    """

    prompt: Sequence[Message]
    chosen: str
    rejected: str


def read_preferences(data: str | Path) -> Records[Preference]:
    """Return the preferences of files or of a dataset of the Hub (see `read_records`): `prompt`, `chosen` and `rejected`.

    Each is a text, or a list of messages; chosen and rejected may be whole conversations, which need no prompt beside
    them (see `columns.answers_of`). Raises UserError, naming file and line, for what is no preference.
    """
    return read_records(data, PREFERENCES)


def preference_of(record: Record, where: str) -> Preference:
    """Return the preference of a row. where: words on where it stands. Raises UserError for what is none."""
    chosen, rejected = answers_of(record)
    prompt, better = _prompt_and_answer("chosen", chosen)
    other_prompt, worse = _prompt_and_answer("rejected", rejected)
    if prompt != other_prompt:
        raise UserError("chosen and rejected answer different prompts.")
    if better == worse:
        raise UserError("chosen and rejected are the same: there is nothing to prefer.")
    return Preference(prompt, better, worse)


PREFERENCES = Kind(
    name="preferences",
    example='{"prompt": "...", "chosen": "...", "rejected": "..."}',
    parse=preference_of,
    content=lambda preference: preference.prompt,
)
"""Preferences in files. All pairs of a prompt are held out together."""


def _prompt_and_answer(name: str, messages: Sequence[Message]) -> tuple[list[Message], str]:
    *prompt, last = messages or [{}]
    if last.get("role") != "assistant" or not isinstance(last["content"], str) or not last["content"]:
        raise UserError(f"{name} must be one answer: a text, or a list with one message of the assistant's.")
    if not prompt:
        raise UserError(f"there is no prompt, neither by itself nor before the answer in {name}.")
    check_messages(prompt)
    if prompt[-1]["role"] != "user":
        raise UserError(
            f"the prompt of {name} ends with the {prompt[-1]['role']}'s turn: it must end with the user's."
        )
    return prompt, last["content"]


@dataclass(frozen=True)
class Pair:
    """A preference as ids."""

    prompt: Sequence[int]
    chosen: Sequence[int]
    rejected: Sequence[int]

    def __len__(self) -> int:
        """Return the tokens of the longer side."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


def tokenize_pair(tokenizer: Tokenizer, preference: Preference) -> Pair:
    """Return a preference as ids: both answers after the same prompt, each with its `<|end|>`.

    Raises UserError for a character that the tokenizer does not know.
    """
    return Pair(
        prompt_ids(tokenizer, preference.prompt),
        completion_ids(tokenizer, preference.chosen),
        completion_ids(tokenizer, preference.rejected),
    )


def texts_of(preferences: Iterable[Preference]) -> Iterator[tuple[str, str]]:
    """Yield each text of preferences, after words on where it stands."""
    for each in preferences:
        where = f"a pair with the prompt {each.prompt[-1]['content'][:60]!r}"
        for text in (*(message["content"] for message in each.prompt), each.chosen, each.rejected):
            yield where, text


def tokenize_pairs(
    preferences: Sequence[Mapping[str, Any]], tokenizer: Tokenizer, block_size: int
) -> list[Pair]:
    """Return preferences, rows `{"prompt": ..., "chosen": ..., "rejected": ...}`, as ids.

    Warns and raises as `fitting_pairs`, and raises UserError for no preferences and for a row that is none.
    """
    if not preferences:
        raise UserError("preferences is empty: there is nothing to train on.")
    parsed = parse_rows((Row(f"preference {n}", row) for n, row in enumerate(preferences, 1)), preference_of)
    report("preferences", parsed)
    return fitting_pairs(parsed.records, tokenizer, block_size)


def fitting_pairs(preferences: Sequence[Preference], tokenizer: Tokenizer, block_size: int) -> list[Pair]:
    """Return preferences as ids.

    Warns with FolioWarning of those longer than block_size, which are left out. Raises UserError for characters that
    the tokenizer does not know, and where no pair is left.
    """
    require_known(tokenizer, texts_of(preferences))
    pairs = [tokenize_pair(tokenizer, preference) for preference in preferences]
    kept = [pair for pair in pairs if len(pair) <= block_size]
    if not kept:
        raise UserError(f"none of {len(pairs)} pairs fits into {block_size} tokens, the model's context.")
    if len(kept) < len(pairs):
        warnings.warn(
            f"the context is {block_size} tokens: {len(pairs) - len(kept):,} of {len(pairs):,} pairs are left out",
            FolioWarning,
            stacklevel=4,
        )
    return kept


def pair_batch(pairs: Sequence[Pair], pad_id: int) -> Completions:
    """Return a batch of all chosen answers, then all rejected ones, in the same order: (2B, T)."""
    chosen = [(pair.prompt, pair.chosen) for pair in pairs]
    rejected = [(pair.prompt, pair.rejected) for pair in pairs]
    return Completions.from_pairs([*chosen, *rejected], pad_id)


class PairBatches(OrderedSource[Completions]):
    """An endless stream of batches of pairs, the same in every run with the same seed.

    Each epoch visits every pair once; pairs of similar length share a batch. A position of the stream is a batch: the
    last one of an epoch's pairs may be smaller, and none crosses into the next epoch.
    """

    def __init__(self, pairs: Sequence[Pair], *, batch_size: int, pad_id: int, seed: int) -> None:
        super().__init__(1)
        self.pairs = pairs
        self.batch_size = batch_size
        self.pad_id = pad_id
        self.seed = seed
        self.batches_per_epoch = -(-len(pairs) // batch_size)

    @classmethod
    def from_preferences(
        cls,
        preferences: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
        *,
        block_size: int,
        batch_size: int,
        seed: int,
    ) -> Self:
        """Return the source of these preferences, rows as in `tokenize_pairs`, which says what is warned of and raised."""
        pairs = tokenize_pairs(preferences, tokenizer, block_size)
        return cls(pairs, batch_size=batch_size, pad_id=tokenizer.special_ids["<|pad|>"], seed=seed)

    def batch(self, positions: NDArray[np.int64]) -> Completions:
        """Return the pairs of the batches at these positions of the stream."""
        return pair_batch(self._pairs_at(positions), self.pad_id)

    def share(self, n_batches: int, rank: int, n_ranks: int) -> list[Any]:
        """Return one rank's part of each of the next batches, and go past them.

        Where a batch has fewer pairs than there are ranks, the last ranks get one that does not count.
        """
        first, self.position = self.position, self.position + n_batches
        parts: list[Any] = []
        for position in range(first, self.position):
            pairs = self._pairs_at(np.array([position]))
            own = pairs[rank::n_ranks]
            parts.append(
                pair_batch(own, self.pad_id) if own else Uncounted(pair_batch(pairs[:1], self.pad_id))
            )
        return parts

    def _pairs_at(self, positions: NDArray[np.int64]) -> list[Pair]:
        epochs = positions // self.batches_per_epoch
        batches = visit(positions, self.batches_per_epoch, self.seed)
        return [
            pair
            for epoch, batch in zip(epochs, batches, strict=True)
            for pair in self._pairs(int(epoch), int(batch))
        ]

    def _pairs(self, epoch: int, batch: int) -> list[Pair]:
        """Return the pairs of one batch: sort the group of batches that it is of by length, and cut it out."""
        group, place = divmod(batch, GROUPED_BATCHES)
        size = GROUPED_BATCHES * self.batch_size
        shuffled = np.arange(group * size, min((group + 1) * size, len(self.pairs)))
        held = permute(shuffled, len(self.pairs), hash64(self.seed, epoch, 1))
        ordered = sorted((self.pairs[i] for i in held), key=len)
        return ordered[place * self.batch_size : (place + 1) * self.batch_size]
