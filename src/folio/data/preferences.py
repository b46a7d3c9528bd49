"""Preferences from files: two answers to the same prompt, of which one is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folio.batch import Completions
from folio.data.columns import Record, answers_of
from folio.data.records import Records, read_records
from folio.errors import UserError
from folio.tokenizer.chat_template import Message, check_messages, completion_ids, prompt_ids
from folio.tokenizer.protocol import Tokenizer

GROUPED_BATCHES = 16
"""Batches whose pairs are sorted by length together: padding costs as much as text, and order still matters little."""


@dataclass(frozen=True)
class Preference:
    """prompt: the conversation up to a user's turn. chosen, rejected: two answers to it."""

    prompt: Sequence[Message]
    chosen: str
    rejected: str


def read_preferences(data: str | Path) -> Records[Preference]:
    """The preferences of files or of a dataset of the Hub (see `read_records`): `prompt`, `chosen` and `rejected`.

    Each is a text, or a list of messages; chosen and rejected may be whole conversations, which need no prompt beside
    them (see `columns.answers_of`). Raises UserError, naming file and line, for what is no preference.
    """
    preferences = read_records(data, preference_of)
    if not preferences:
        raise UserError(
            f"{data} holds no preferences: name a file with `prompt`, `chosen` and `rejected` in each row."
        )
    return preferences


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
        """Tokens of the longer side."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


def tokenize_pair(tokenizer: Tokenizer, preference: Preference) -> Pair:
    """A preference as ids: both answers after the same prompt, each with its `<|end|>`.

    Raises UserError, naming the prompt, for a character that the tokenizer does not know.
    """
    try:
        return Pair(
            prompt_ids(tokenizer, preference.prompt),
            completion_ids(tokenizer, preference.chosen),
            completion_ids(tokenizer, preference.rejected),
        )
    except UserError as error:
        raise UserError(
            f"a pair with the prompt {preference.prompt[-1]['content'][:60]!r}: {error}"
        ) from None


def pair_batch(pairs: Sequence[Pair], pad_id: int) -> Completions:
    """First all chosen answers, then all rejected ones, in the same order: (2B, T)."""
    chosen = [(pair.prompt, pair.chosen) for pair in pairs]
    rejected = [(pair.prompt, pair.rejected) for pair in pairs]
    return Completions.from_pairs([*chosen, *rejected], pad_id)


class PairBatches:
    """An endless stream of batches of pairs, the same in every run with the same seed.

    Each epoch visits every pair once; pairs of like length share a batch. What comes next depends on seed, epoch and
    position alone, so these are the state.
    """

    def __init__(self, pairs: Sequence[Pair], *, batch_size: int, pad_id: int, seed: int) -> None:
        self.pairs = pairs
        self.batch_size = batch_size
        self.pad_id = pad_id
        self.seed = seed
        self.epoch = 0
        self.position = 0
        """Batches of this epoch that were taken."""
        self._batches = self._shuffled()

    def _shuffled(self) -> list[NDArray[np.int64]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.pairs))
        n_grouped = GROUPED_BATCHES * self.batch_size
        batches = []
        for first in range(0, len(order), n_grouped):
            group = sorted(order[first : first + n_grouped], key=lambda i: len(self.pairs[i]))
            batches += [
                np.array(group[at : at + self.batch_size]) for at in range(0, len(group), self.batch_size)
            ]
        return [batches[i] for i in generator.permutation(len(batches))]

    @property
    def batches_per_epoch(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Completions]:
        return self

    def __next__(self) -> Completions:
        if self.position == len(self._batches):
            self.epoch, self.position = self.epoch + 1, 0
            self._batches = self._shuffled()
        self.position += 1
        return pair_batch([self.pairs[i] for i in self._batches[self.position - 1]], self.pad_id)

    def state_dict(self) -> dict[str, int]:
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where a source over the same pairs was when it gave `state`."""
        self.seed, self.epoch, self.position = state["seed"], state["epoch"], state["position"]
        self._batches = self._shuffled()
