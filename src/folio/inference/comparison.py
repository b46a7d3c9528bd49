"""Answers of two models to the same question, and the preference that a choice between them makes."""

from __future__ import annotations

from collections.abc import Sequence

from folio.inference.chat import ChatSession
from folio.tokenizer.chat_template import Message


def write_two(session: ChatSession, other: ChatSession) -> list[str]:
    """Return each model's answer to the last question; `session` keeps its own.

    Where one has no answer, return none and remove the question.
    """
    first = "".join(session.answer())
    if not first:
        return []
    # With a seed that has moved on, so that a model compared with itself has two answers.
    other.sync_with(session)
    second = "".join(other.answer())
    session.seed = other.seed
    if not second:
        del session.messages[-2:]
        return []
    return [first, second]


def preference(prompt: Sequence[Message], chosen: str, rejected: str) -> dict[str, object]:
    """Return a record of the usual form: strings where the prompt is one question, else lists of messages."""
    if len(prompt) == 1:
        return {"prompt": prompt[0]["content"], "chosen": chosen, "rejected": rejected}
    better, worse = ([{"role": "assistant", "content": answer}] for answer in (chosen, rejected))
    return {"prompt": prompt, "chosen": better, "rejected": worse}
