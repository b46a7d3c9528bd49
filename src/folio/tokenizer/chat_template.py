"""The chat template, which turns a conversation into tokens.

    <|bos|>system text<|end|><|user|>question<|end|><|assistant|>answer<|end|><|user|> ...

The system turn needs no token of its own: it is the text between `<|bos|>` and the first `<|end|>`. Special tokens
come only from the template. Content is encoded as text, so nobody can end a turn by typing "<|end|>".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folio.errors import UserError
from folio.files import write_file
from folio.tokenizer.protocol import Tokenizer

ROLES = ("system", "user", "assistant")
FILE = "chat_template.jinja"
TEMPLATE = (
    "{{ '<|bos|>' }}"
    "{% for message in messages %}"
    "{% if message['role'] != 'system' %}{{ '<|' + message['role'] + '|>' }}{% endif %}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""The template in Jinja, for `transformers` and others. `generation` marks what the assistant writes, which others that
fine-tune on answers alone, as TRL does, learn from: the same tokens as folio."""

Message = Mapping[str, str]
"""`role`, one of ROLES, and `content`."""


def check_messages(messages: Sequence[Message]) -> None:
    """Raise UserError unless messages are an optional system turn, then user and assistant in alternation."""
    if not messages:
        raise UserError("the conversation is empty.")
    expected: tuple[str, ...] = ("user", "system")
    for number, message in enumerate(messages, start=1):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise UserError(
                f"turn {number} has the role {role!r}: it must be {', '.join(ROLES[:-1])} or {ROLES[-1]}."
            )
        if role not in expected:
            raise UserError(f"turn {number} is the {role}'s: it must be the {expected[0]}'s.")
        if not content:
            raise UserError(f"turn {number} ({role}) has no content.")
        if not isinstance(content, str):
            raise UserError(
                f"turn {number} ({role}) has content of type {type(content).__name__}: it must be a string of text."
            )
        expected = ("assistant",) if role == "user" else ("user",)


def turns(tokenizer: Tokenizer, messages: Sequence[Message]) -> Iterator[tuple[NDArray[np.int32], bool]]:
    """Yield the ids of each turn, from its role's token to its `<|end|>`, and whether it is the assistant's."""
    special = tokenizer.special_ids
    for message in messages:
        role = message["role"]
        opening = [] if role == "system" else [special[f"<|{role}|>"]]
        content = tokenizer.encode(message["content"])
        yield np.concatenate([opening, content, [special["<|end|>"]]]).astype(np.int32), role == "assistant"


def prompt_ids(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Return the prompt for an answer: all turns, and the token that opens the assistant's."""
    special = tokenizer.special_ids
    ids = [special["<|bos|>"]]
    for turn, _ in turns(tokenizer, messages):
        ids += turn.tolist()
    return [*ids, special["<|assistant|>"]]


def completion_ids(tokenizer: Tokenizer, content: str) -> list[int]:
    """Return the completion of a prompt: the ids of an answer, and `<|end|>`."""
    return [*tokenizer.encode(content).tolist(), tokenizer.special_ids["<|end|>"]]


def save_template(directory: Path) -> None:
    """Write the template to a model directory, where `transformers` looks for it."""
    write_file(directory / FILE, TEMPLATE.encode())
