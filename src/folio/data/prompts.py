"""Prompts from files: conversations up to a user's turn, which a policy is to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from folio.data.corpora import unix_lines
from folio.data.jsonl import read_jsonl
from folio.errors import UserError
from folio.tokenizer.chat_template import Message, check_messages


def read_prompts(path: Path) -> list[list[Message]]:
    """The prompts of a .jsonl file, or of all in a folder: `prompt`, a text or messages, or `messages` up to the last
    user's turn. So conversations, preferences and problems can all be read for their prompts.

    Raises UserError, naming file and line, for what has no prompt.
    """
    prompts = [prompt for _, prompt in read_jsonl(path, _prompt)]
    if not prompts:
        raise UserError(
            f"{path} holds no prompts: give a .jsonl file with `prompt` or `messages` in each line."
        )
    return prompts


def _prompt(record: object) -> list[Message]:
    columns = record if isinstance(record, Mapping) else {}
    # Files that come from tables have every column in every line, with null where there is nothing.
    found = columns.get("messages") if columns.get("prompt") is None else columns["prompt"]
    messages = [{"role": "user", "content": found}] if isinstance(found, str) else found
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        raise UserError("it must have `prompt`, a text or a list of messages, or `messages`.")
    check_messages(messages)
    return up_to_the_user(messages)


def up_to_the_user(messages: Sequence[Message]) -> list[Message]:
    """A conversation without what comes after the last user's turn. Raises UserError where there is none."""
    last = max((n for n, message in enumerate(messages) if message["role"] == "user"), default=-1)
    if last < 0:
        raise UserError("no turn is the user's: there is nothing to answer.")
    return [{**message, "content": unix_lines(message["content"])} for message in messages[: last + 1]]
