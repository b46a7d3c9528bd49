"""Conversations from plays: a speech is a question, the next speaker's reply an answer."""

from __future__ import annotations

import re

from folio.data.conversations import Conversation

SPEECH = re.compile(r"(?P<speaker>[^\n:]+):\n(?P<words>.+)", re.DOTALL)


def speeches(text: str) -> list[tuple[str, str]]:
    """Speaker and words of every speech. Speeches are set apart by empty lines, and begin with a name and a colon.

    What does not look so, as the halves of a speech that was cut in two, is left out.
    """
    found = (SPEECH.fullmatch(part.strip("\n")) for part in text.split("\n\n"))
    return [(match["speaker"], match["words"]) for match in found if match]


def dialogues(text: str, max_characters: int) -> list[Conversation]:
    """Every speech with the reply to it, where neither is longer than max_characters. The speakers' names are left out."""
    pairs = enumerate(zip(speeches(text), speeches(text)[1:], strict=False), start=1)
    return [
        Conversation(
            [{"role": "user", "content": said}, {"role": "assistant", "content": reply}], f"speech {number}"
        )
        for number, ((speaker, said), (other, reply)) in pairs
        if speaker != other and max(len(said), len(reply)) <= max_characters
    ]
