"""What of a conversation a model sees: the newest turns that its context has room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from folio.errors import UserError
from folio.tokenizer.chat_template import Message, prompt_ids
from folio.tokenizer.protocol import Tokenizer


@dataclass(frozen=True)
class Window:
    """A prompt that fits, and what did not.

    ids:       of the prompt for the next answer.
    n_dropped: the oldest messages, after the system message, that are not in it.
    """

    ids: list[int]
    n_dropped: int


def visible_window(
    tokenizer: Tokenizer,
    system: Sequence[Message],
    messages: Sequence[Message],
    *,
    block_size: int,
    answer: int,
) -> Window:
    """Return the prompt for an answer to the last message, without the oldest turns where there is no room for them.

    system: the system message, or none; it always stays. messages: user and assistant in alternation, the user's last.
    answer: tokens to keep free for the answer, at most half the context.

    Raises UserError where the last message alone, with the system message, fills the context.
    """
    room = block_size - min(answer, block_size // 2)
    for first in range(0, len(messages), 2):
        ids = prompt_ids(tokenizer, [*system, *messages[first:]])
        if len(ids) <= room:
            break
    if len(ids) >= block_size:
        raise UserError(f"that is too long: the model reads {block_size} tokens, system message included.")
    return Window(ids, first)
