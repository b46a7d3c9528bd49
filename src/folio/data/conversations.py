"""Conversations from files, and batches in which only the assistant's words count."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from folio.batch import Batch
from folio.data.characters import require_known
from folio.data.columns import Record, conversation_of
from folio.data.fields import parse_rows, report
from folio.data.order import OrderedSource, visit
from folio.data.records import Kind, Records, read_records
from folio.data.rows import Row
from folio.errors import FolioWarning, UserError
from folio.tokenizer.chat_template import Message, check_messages, turns
from folio.tokenizer.protocol import Tokenizer


class Conversation(list[Message]):
    """A conversation's messages.

    where: words for the person on where it was found, as file and line. columns: the row that it comes from, by column.
    """

    def __init__(self, messages: Iterable[Message], where: str, columns: Record | None = None) -> None:
        super().__init__(messages)
        self.where = where
        self.columns: Record = columns or {}


@dataclass(frozen=True)
class Example:
    """A conversation as tokens.

    ids:      (n) int32, from `<|bos|>` to an `<|end|>`.
    weights:  (n) float32, 1 for each token of an answer, its `<|end|>` too, else 0.
    is_cut:   whether turns at its end were left out for lack of room.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    is_cut: bool = False


def read_conversations(data: str | Path) -> Records[Conversation]:
    """Return the conversations of files or of a dataset of the Hub (see `read_records`), in any form of `columns.FORMS`.

    Raises UserError, naming file and line, for what is not a conversation with an answer in it.
    """
    return read_records(data, CONVERSATIONS)


def parse_conversation(record: Record, where: str) -> Conversation:
    """Return the conversation of a row. where: words on where it stands. Raises UserError for what is none."""
    messages = conversation_of(record)
    check_messages(messages)
    if all(message["role"] != "assistant" for message in messages):
        raise UserError("no turn is the assistant's: there is no answer to train on.")
    if not any(is_trained(message) for message in messages):
        raise UserError("all answers have weight 0: there is none to train on.")
    return Conversation(messages, where, record)


def is_trained(message: Message) -> bool:
    """Return whether a message is an answer to learn from, as all are but those of weight 0."""
    return message["role"] == "assistant" and float(message.get("weight", 1)) != 0


CONVERSATIONS = Kind(
    name="conversations",
    example='{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}',
    parse=parse_conversation,
)
"""Conversations in files."""


def parse_judged(record: Record, where: str) -> Conversation:
    """Return the conversation of a row, as `parse_conversation`; a judge may ask for any other field, so all are read."""
    return parse_conversation(dict(record), where)


JUDGED_CONVERSATIONS = replace(CONVERSATIONS, parse=parse_judged)
"""Conversations whose other fields are for a judge."""


def tokenize(tokenizer: Tokenizer, messages: Sequence[Message], max_tokens: int) -> Example | None:
    """Return a conversation as tokens, cut after the last answer that fits whole; None if no answer to learn from does."""
    ids = [np.array([tokenizer.special_ids["<|bos|>"]], dtype=np.int32)]
    weights = [np.zeros(1, dtype=np.float32)]
    length, n_kept, is_cut = 1, 0, False
    for message, (turn, is_answer) in zip(messages, turns(tokenizer, messages), strict=True):
        length += len(turn)
        if length > max_tokens:
            is_cut = True
            break
        ids.append(turn)
        weights.append(np.full(len(turn), is_trained(message), dtype=np.float32))
        weights[-1][0] = 0  # the role's token is given, not written
        n_kept = len(ids) if is_answer else n_kept
    if not any(each.any() for each in weights[:n_kept]):
        return None
    return Example(np.concatenate(ids[:n_kept]), np.concatenate(weights[:n_kept]), is_cut)


def tokenize_all(
    tokenizer: Tokenizer, conversations: Sequence[Conversation], block_size: int
) -> list[Example | None]:
    """Return conversations as tokens, each at most block_size + 1; None for those that do not fit (see `tokenize`).

    Raises UserError for characters that the model does not know, saying where, and where nothing fits.
    """
    require_known(tokenizer, texts_of(conversations))
    examples = [
        tokenize(tokenizer, each, block_size + 1) for each in conversations
    ]  # the last is a target only
    if all(example is None for example in examples):
        raise UserError(
            f"none of {len(examples)} conversations has a first answer within {block_size} tokens, the model's context."
        )
    return examples


def texts_of(conversations: Iterable[Conversation]) -> Iterator[tuple[str, str]]:
    """Yield each message's text, after where it stands."""
    return ((each.where, message["content"]) for each in conversations for message in each)


LEAST_ROW = 1024
"""Tokens in a row to which short conversations are packed, where the context allows as many."""


@dataclass(frozen=True)
class PackedRow:
    """A row of a batch, (T) each as in `Batch`: conversations one after another."""

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]
    segments: NDArray[np.int64]


def pack(examples: Sequence[Example], block_size: int, pad_id: int) -> list[PackedRow]:
    """Pack conversations into rows of at most block_size tokens: every conversation once, and little padding.

    Rows are no longer than the longest conversation needs, or LEAST_ROW: attention within a row takes memory in the square
    of its length. block_size: at least the places of the longest one.

    A conversation of n tokens takes n - 1 places, its last token being a target only. The longest go first, each
    into the fullest row that still has room. What is left of a row is padding of weight 0, a segment of its own.
    """
    longest = max((len(example.ids) - 1 for example in examples), default=0)
    block_size = min(block_size, max(longest, LEAST_ROW))
    bins: list[list[Example]] = []
    by_room: dict[int, list[int]] = {room: [] for room in range(block_size + 1)}
    for example in sorted(examples, key=lambda example: len(example.ids), reverse=True):
        size = len(example.ids) - 1
        room = next((room for room in range(size, block_size + 1) if by_room[room]), None)
        if room is None:
            bins.append([])
            place, room = len(bins) - 1, block_size
        else:
            place = by_room[room].pop()
        bins[place].append(example)
        by_room[room - size].append(place)
    return [_row(held, block_size, pad_id) for held in bins]


def packed_rows(
    conversations: Sequence[Mapping[str, Any]], tokenizer: Tokenizer, block_size: int
) -> list[PackedRow]:
    """Return conversations, rows such as `{"messages": [...]}`, packed into rows of at most block_size tokens (see `pack`).

    Warns and raises as `fitting_examples`, and raises UserError for no conversations and for a row that is none.
    """
    if not conversations:
        raise UserError("conversations is empty: there is nothing to train on.")
    parsed = parse_rows(
        (Row(f"conversation {n}", row) for n, row in enumerate(conversations, 1)), parse_conversation
    )
    report("conversations", parsed)
    examples = fitting_examples(parsed.records, tokenizer, block_size)
    return pack(examples, block_size, tokenizer.special_ids["<|pad|>"])


def fitting_examples(
    conversations: Sequence[Conversation], tokenizer: Tokenizer, block_size: int
) -> list[Example]:
    """Return conversations as tokens, each at most block_size + 1.

    Warns with FolioWarning of those that are cut or left out, because a row has no room for them. Raises UserError as
    `tokenize_all`.
    """
    examples = tokenize_all(tokenizer, conversations, block_size)
    kept = [example for example in examples if example is not None]
    n_cut = sum(example.is_cut for example in kept)
    if n_cut or len(kept) < len(examples):
        warnings.warn(
            f"the context is {block_size} tokens: of {len(examples):,} conversations {n_cut:,} cut after an answer, "
            f"{len(examples) - len(kept):,} left out",
            FolioWarning,
            stacklevel=4,
        )
    return kept


def _row(examples: Sequence[Example], block_size: int, pad_id: int) -> PackedRow:
    ids = np.full(block_size, pad_id, dtype=np.int64)
    targets = np.full(block_size, pad_id, dtype=np.int64)
    weights = np.zeros(block_size, dtype=np.float32)
    segments = np.full(block_size, len(examples), dtype=np.int64)
    start = 0
    for number, example in enumerate(examples):
        end = start + len(example.ids) - 1
        ids[start:end], targets[start:end] = example.ids[:-1], example.ids[1:]
        weights[start:end], segments[start:end] = example.weights[1:], number
        start = end
    return PackedRow(ids, targets, weights, segments)


def batch_of(rows: Sequence[PackedRow]) -> Batch:
    """Stack rows into a batch."""
    return Batch(
        *(
            torch.from_numpy(np.stack([getattr(row, name) for row in rows]))
            for name in ("ids", "targets", "weights", "segments")
        )
    )


class PackedConversations(OrderedSource[Batch]):
    """An endless stream of batches of rows, the same in every run with the same seed.

    Each epoch visits every row once, in a new order; a batch may cross from one epoch into the next.
    """

    def __init__(self, rows: Sequence[PackedRow], *, batch_size: int, seed: int) -> None:
        super().__init__(batch_size)
        self.rows = rows
        self.seed = seed

    @classmethod
    def from_conversations(
        cls,
        conversations: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
        *,
        block_size: int,
        batch_size: int,
        seed: int,
    ) -> Self:
        """Return the source of these conversations, rows such as `{"messages": [...]}`; for warnings and errors see `packed_rows`."""
        return cls(packed_rows(conversations, tokenizer, block_size), batch_size=batch_size, seed=seed)

    def batch(self, positions: NDArray[np.int64]) -> Batch:
        """Return the rows at these positions of the stream."""
        return batch_of([self.rows[i] for i in visit(positions, len(self.rows), self.seed)])
