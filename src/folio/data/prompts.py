"""Read prompts: conversations up to a user's turn, for a policy to answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from folio.data.columns import Record, prompt_of
from folio.data.records import Kind, Records, read_records, spread
from folio.errors import UserError
from folio.tokenizer.chat_template import Message, check_messages

LONGEST_QUESTION = 100
"""Characters of a question that is short enough for a sample."""


class PromptMessages(list[Message]):
    """A prompt: a conversation up to a user's turn.

    columns: the row that it comes from, by column, for reward functions that ask for more than the text.
    """

    def __init__(self, messages: Iterable[Message], columns: Record) -> None:
        super().__init__(messages)
        self.columns = columns


def read_prompts(data: str | Path) -> Records[PromptMessages]:
    """Return the prompts of files or of a dataset of the Hub (see `read_records`).

    A prompt is a row's `prompt` or `question`, a text or messages, or its conversation up to the user's last turn. So
    conversations, preferences and problems have prompts too. Raises UserError, naming file and line, for a row without.
    """
    return read_records(data, PROMPTS)


def parse_prompt(record: Record, where: str = "") -> PromptMessages:
    """Return the prompt of a row. Raises UserError for a row without one."""
    messages = prompt_of(record)
    check_messages(messages)
    columns = dict(record)  # reads all fields: a reward function may ask for any
    return PromptMessages(up_to_the_user(messages), columns)


def sample_questions(prompts: Sequence[Sequence[Message]]) -> list[str]:
    """Return three last user turns for samples during training: evenly spaced short ones, or else the shortest."""
    asked = [prompt[-1]["content"] for prompt in prompts]
    short = [text for text in asked if len(text) <= LONGEST_QUESTION]
    return list(spread(short, 3)) if short else sorted(asked, key=len)[:3]


def up_to_the_user(messages: Sequence[Message]) -> list[Message]:
    """Return a conversation up to the user's last turn. Raises UserError where there is none."""
    last = max((n for n, message in enumerate(messages) if message["role"] == "user"), default=-1)
    if last < 0:
        raise UserError("no turn is the user's: there is nothing to answer.")
    return list(messages[: last + 1])


def texts_of(prompts: Iterable[Sequence[Message]]) -> Iterator[tuple[str, str]]:
    """Yield each text of prompts, after words on where it stands."""
    return (
        (f"the prompt {prompt[-1]['content'][:60]!r}", message["content"])
        for prompt in prompts
        for message in prompt
    )


PROMPTS = Kind(name="prompts", example='{"prompt": "..."}', parse=parse_prompt)
"""Prompts in files."""
