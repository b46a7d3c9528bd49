"""Turn rows of public datasets, which name their columns in many ways, into messages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from folio.data.rows import unix_lines
from folio.errors import UserError
from folio.tokenizer.chat_template import Message

Record = Mapping[str, Any]
"""A row by column. Files made from tables have every column in every row, null where there is no value."""

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
NAMES = {"role": ("role", "from"), "content": ("content", "value")}
"""Keys that messages use for role and content."""
ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
"""Other names of roles."""
SPEAKER = re.compile(r"\n\n(Human|Assistant):")
SPEAKERS = {"Human": "user", "Assistant": "assistant"}
"""Roles of the speakers in Anthropic's transcripts."""


def conversation_of(record: Record) -> list[Message]:
    """Return a row's question and answer, or its conversation, in any of FORMS. Raises UserError where it has none."""
    for asked, answers in FORMS:
        question, answer = question_of(record, asked), _first_of(record, answers)
        if question is not None and answer is not None:
            return answered(question, answer)
    raise UserError(f"it must have `messages`, or `prompt` and `completion`, {_instead_of(record)}")


def prompt_of(record: Record) -> list[Message]:
    """Return a row's question, or else its conversation. Raises UserError where it has neither."""
    # A question column is the prompt; without one, the prompt is what comes before the last answer.
    for asked, answers in sorted(FORMS, key=lambda form: not form[0]):
        if asked and (question := question_of(record, asked)) is not None:
            return question
        if not asked and (whole := _first_of(record, answers)) is not None:
            return turns_of(whole, "assistant")
    raise UserError(
        f"it must have `prompt`, a text or a list of messages, or `messages`, {_instead_of(record)}"
    )


def answers_of(record: Record) -> tuple[list[Message], list[Message]]:
    """Return two conversations, with the chosen and the rejected answer. Raises UserError where a column is missing."""
    if record.get("chosen") is None or record.get("rejected") is None:
        raise UserError(f"it must have `prompt`, `chosen` and `rejected`, {_instead_of(record)}")
    questions = (question_of(record, asked) for asked, _ in FORMS if asked)
    prompt = next((question for question in questions if question is not None), [])
    return answered(prompt, record["chosen"]), answered(prompt, record["rejected"])


def question_of(record: Record, columns: Sequence[str]) -> list[Message] | None:
    """Return these columns as turns: [] for no columns, None where the first is missing."""
    if not columns:
        return []
    if record.get(columns[0]) is None:
        return None
    values = [record[name] for name in columns if record.get(name) not in (None, "")]
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


def _message(value: object) -> Message:
    if not isinstance(value, Mapping):
        raise UserError("messages must be objects with `role` and `content`.")
    role, content = (_first_of(value, names) for names in NAMES.values())
    return {
        "role": ROLES.get(role, role) if isinstance(role, str) else role,
        "content": unix_lines(content) if isinstance(content, str) else content,
    }


def _first_of(record: Record, names: Sequence[str]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _text_of(value: object) -> str:
    if isinstance(value, float):  # answers to problems: 51.0 is 51
        return f"{value:.15g}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST:
        return str(value)
    if not isinstance(value, str):
        raise UserError("content must be a text or a list of messages.")
    return unix_lines(value)


def _instead_of(record: Record) -> str:
    there = [str(name) for name, value in record.items() if value is not None]
    return f"and has {', '.join(there)}." if there else "and is empty."
