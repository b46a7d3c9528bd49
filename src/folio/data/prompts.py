"""Prompts from files: conversations up to a user's turn, which a policy is to answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from folio.data.columns import Record, prompt_of
from folio.data.records import Records, read_records, spread
from folio.errors import UserError
from folio.tokenizer.chat_template import Message, check_messages

LONGEST_QUESTION = 100
"""Characters, where short ones are preferred."""


def read_prompts(data: str | Path) -> Records[list[Message]]:
    """The prompts of files or of a dataset of the Hub (see `read_records`): `prompt` or `question`, a text or messages, or
    a conversation up to the last user's turn. So conversations, preferences and problems can all be read for their prompts.

    Raises UserError, naming file and line, for what has no prompt.
    """
    prompts = read_records(data, _prompt)
    if not prompts:
        raise UserError(f"{data} holds no prompts: name a file with `prompt` or `messages` in each row.")
    return prompts


def _prompt(record: Record, where: str) -> list[Message]:
    messages = prompt_of(record)
    check_messages(messages)
    return up_to_the_user(messages)


def sample_questions(prompts: Sequence[Sequence[Message]]) -> list[str]:
    """What the user asks last in three of them, for samples along the way: short ones from all over, or the shortest."""
    asked = [prompt[-1]["content"] for prompt in prompts]
    short = [text for text in asked if len(text) <= LONGEST_QUESTION]
    return list(spread(short, 3)) if short else sorted(asked, key=len)[:3]


def up_to_the_user(messages: Sequence[Message]) -> list[Message]:
    """A conversation without what comes after the last user's turn. Raises UserError where there is none."""
    last = max((n for n, message in enumerate(messages) if message["role"] == "user"), default=-1)
    if last < 0:
        raise UserError("no turn is the user's: there is nothing to answer.")
    return list(messages[: last + 1])
