"""Make conversations from plays: each speech is a question, the next speaker's reply its answer."""

from __future__ import annotations

import re

from folio.data.conversations import Conversation

SPEECH = re.compile(r"(?P<speaker>[^\n:]+):\n(?P<words>.+)", re.DOTALL)


def speeches(text: str) -> list[tuple[str, str]]:
    """Return (speaker, words) of each speech. Blank lines separate speeches; each begins with a name and a colon.

    All else is skipped, such as the halves of a speech that was cut in two.
    """
    found = (SPEECH.fullmatch(part.strip("\n")) for part in text.split("\n\n"))
    return [(match["speaker"], match["words"]) for match in found if match]


def dialogues(text: str, max_characters: int) -> list[Conversation]:
    """Return each speech with the reply to it, without names, where neither is longer than max_characters."""
    pairs = enumerate(zip(speeches(text), speeches(text)[1:], strict=False), start=1)
    return [
        Conversation(
            [{"role": "user", "content": said}, {"role": "assistant", "content": reply}], f"speech {number}"
        )
        for number, ((speaker, said), (other, reply)) in pairs
        if speaker != other and max(len(said), len(reply)) <= max_characters
    ]
