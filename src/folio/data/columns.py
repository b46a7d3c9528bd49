"""Turn rows of public datasets, which name their columns in many ways, into messages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from folio.data.fields import Fields
from folio.data.rows import unix_lines
from folio.errors import UserError
from folio.tokenizer.chat_template import Message

Record = Mapping[str, Any]
"""A row by column."""

SYSTEM = ("system", "system_prompt")
"""Columns of a system turn beside a conversation."""
FORMS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    ((), ("messages", "conversations")),  # the latter in ShareGPT's datasets
    (("prompt",), ("completion", "response", "chosen")),
    (("question",), ("answer", "response", "chosen")),  # GSM8K
    (("problem",), ("solution", "answer")),  # MATH
    (("instruction", "input", "context"), ("output", "response", "chosen")),  # Alpaca; Dolly
    (("Body", "Question"), ("Answer",)),  # SVAMP
    ((), ("chosen",)),  # hh-rlhf
)
"""(question columns, answer columns). Question columns are joined, and only the first must be present; the first answer
column present is used. Without question columns, the answer is the whole conversation."""

LARGEST = 10**100
"""Larger numbers are not answers, and Python refuses to print some of them."""
NAMES = {"role": ("role", "from"), "content": ("content", "value"), "weight": ("weight",)}
"""Keys that messages use for role, content and weight."""
ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
"""Other names of roles."""
SPEAKER = re.compile(r"\n\n(Human|Assistant):")
SPEAKERS = {"Human": "user", "Assistant": "assistant"}
"""Roles of the speakers in Anthropic's transcripts."""


def conversation_of(row: Record) -> list[Message]:
    """Return a row's question and answer, or its conversation, in any of FORMS, after its system turn.

    Raises UserError where it has none.
    """
    record = _fields(row)
    for asked, answers in FORMS:
        answer = _first_of(record, answers)
        if answer and (not asked or asked[0] in record):
            return _after_system(record, answered(question_of(record, asked), record[answer]))
    raise UserError(f"it must have `messages`, or `prompt` and `completion`, {_instead_of(record)}")


def prompt_of(row: Record) -> list[Message]:
    """Return a row's question, or else its conversation, after its system turn. Raises UserError where it has neither."""
    record = _fields(row)
    # A question column is the prompt; without one, the prompt is what comes before the last answer.
    for asked, answers in sorted(FORMS, key=lambda form: not form[0]):
        if asked and asked[0] in record:
            return _after_system(record, question_of(record, asked))
        if not asked and (whole := _first_of(record, answers)):
            return _after_system(record, turns_of(record[whole], "assistant"))
    raise UserError(
        f"it must have `prompt`, a text or a list of messages, or `messages`, {_instead_of(record)}"
    )


def answers_of(row: Record) -> tuple[list[Message], list[Message]]:
    """Return two conversations, with the chosen and the rejected answer. Raises UserError where a column is missing."""
    record = _fields(row)
    if not {"chosen", "rejected"} <= record.keys():
        raise UserError(f"it must have `prompt`, `chosen` and `rejected`, {_instead_of(record)}")
    asked = next((asked for asked, _ in FORMS if asked and asked[0] in record), ())
    prompt = question_of(record, asked)
    chosen, rejected = (
        _after_system(record, answered(prompt, record[name])) for name in ("chosen", "rejected")
    )
    return chosen, rejected


def question_of(record: Fields, columns: Sequence[str]) -> list[Message]:
    """Return these columns, of which the first is there, as turns: [] for no columns."""
    values = [value for name in columns if (value := record.get(name, "")) != ""]
    if not columns:
        return []
    return turns_of(values[0] if len(values) == 1 else "\n".join(map(_text_of, values)), "user")


def answered(prompt: Sequence[Message], answer: object) -> list[Message]:
    """Return a prompt with its answer. The answer may be a whole conversation; UserError if it lacks the prompt."""
    turns = turns_of(answer, "assistant")
    if not turns or turns[0]["role"] == "assistant":
        return [*prompt, *turns]
    if turns[: len(prompt)] != prompt:
        raise UserError("the answer is a conversation that does not begin with the prompt.")
    return turns


def turns_of(value: object, role: str) -> list[Message]:
    """Return the turns of a list of messages, of a transcript like Anthropic's, or of a text: one turn of that role."""
    if isinstance(value, list):
        return [_message(each) for each in value]
    text = _text_of(value)
    if not text.startswith("\n\nHuman:"):
        return [{"role": role, "content": text}]
    _, *parts = SPEAKER.split(text)
    return [
        {"role": SPEAKERS[speaker], "content": words.strip()}
        for speaker, words in zip(parts[::2], parts[1::2], strict=True)
    ]


def _after_system(record: Fields, messages: list[Message]) -> list[Message]:
    """Return a conversation after the system turn in a column of its own, if there is one."""
    name = _first_of(record, SYSTEM)
    content = _text_of(record[name]) if name else ""
    if not content:
        return messages
    system: Message = {"role": "system", "content": content}
    if not messages or messages[0]["role"] != "system":
        return [system, *messages]
    if messages[0] != system:
        raise UserError(f"its `{name}` and the system turn of its messages differ: it can have only one.")
    return messages


def _message(value: object) -> Message:
    if not isinstance(value, Mapping):
        raise UserError("messages must be objects with `role` and `content`.")
    message = _fields(value)
    role, content, weight = (
        message[name] if (name := _first_of(message, names)) else None for names in NAMES.values()
    )
    role = ROLES.get(role, role) if isinstance(role, str) else role
    found: dict[str, Any] = {
        "role": role,
        "content": unix_lines(content) if isinstance(content, str) else content,
    }
    if weight == 0:
        return {**found, "weight": 0}  # kept only where it says something
    if weight is not None and (weight != 1 or role != "assistant"):
        raise UserError(
            f"a message of the role {role!r} has the weight {weight!r}: only answers are learned from, with 0 or 1."
        )
    return found


def _fields(row: Record) -> Fields:
    return row if isinstance(row, Fields) else Fields(row)


def _first_of(record: Fields, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in record), None)


def _text_of(value: object) -> str:
    if isinstance(value, float):  # answers to problems: 51.0 is 51
        return f"{value:.15g}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST:
        return str(value)
    if not isinstance(value, str):
        raise UserError("content must be a text or a list of messages.")
    return unix_lines(value)


def _instead_of(record: Fields) -> str:
    return f"and has {', '.join(record.keys())}." if record else "and is empty."
