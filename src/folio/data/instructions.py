"""Make instructions from any text: requests whose answers are in the text.

A model that continues texts has little reason to look back at a request. Requests that cannot be answered without it, such
as to repeat a line, teach the copying (Olsson et al., 2022) that others, such as to write about a word, then use.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, islice
from random import Random
from typing import Any

from folio.data.conversations import Conversation
from folio.data.material import Material
from folio.data.skills import SKILLS, Skill, drawn, pick
from folio.errors import UserError
from folio.tokenizer.chat_template import Message

PLAIN = 0.5
"""Share of requests in the first phrasing of their skill, in training: what is asked for must be clear before words can vary."""
LATER = 0.3
"""Share of requests that come later in a conversation, after another one, where there is room."""
LONGEST_PROMPT = 110
"""Characters of all that comes before the last answer then."""


def instructions(text: str, n: int = 16_000, *, seed: int = 1) -> list[dict[str, list[Message]]]:
    """Return rows to fine-tune on, such as `{"messages": [...]}`: n requests and their answers, made from a text.

    Of a model that continues the text, about 16,000 of them make an assistant that does what it is asked (docs/sft.md).
    Raises UserError for a text that has no lines for them.
    """
    return [{"messages": list(each)} for each in make_instructions(Material(text), n, seed)]


def make_instructions(
    material: Material, n: int, seed: int, *, skills: Mapping[str, Skill] = SKILLS
) -> list[Conversation]:
    """Return n conversations that end in a request and its answer, drawn from a text; some have another before them.

    Skills are drawn by their shares; those for which the text has nothing are left out. Each conversation has the columns
    skill, phrasing, is_new (whether the phrasing is for validation only, as that of half of the held-out ones is) and
    fields. Raises UserError where the text has nothing for any skill.
    """
    chance = Random(seed)
    able = [skill for skill in skills.values() if drawn(skill, material, chance)]
    if not able:
        raise UserError("the text has no lines to make instructions of: use a longer one.")
    return list(islice(_conversations(able, material, chance), n))


def _conversations(skills: Sequence[Skill], material: Material, chance: Random) -> Iterator[Conversation]:
    # Of all that Random can do, only random() is promised to stay the same in later versions of Python.
    exchanges = _exchanges(skills, material, chance)
    for number, (messages, columns) in enumerate(exchanges, start=1):
        earlier = next(exchanges)[0] if chance.random() < LATER else []
        has_room = sum(len(each["content"]) for each in (*earlier, *messages[:-1])) <= LONGEST_PROMPT
        yield Conversation([*earlier, *messages] if has_room else messages, f"instruction {number}", columns)


def _exchanges(
    skills: Sequence[Skill], material: Material, chance: Random
) -> Iterator[tuple[list[Message], dict[str, Any]]]:
    """Yield a request with its answer, and what it asks for."""
    shares = list(accumulate(skill.share for skill in skills))
    while True:
        skill = skills[bisect(shares, chance.random() * shares[-1])]
        made = drawn(skill, material, chance)
        if made is None:
            continue
        is_new = bool(material.is_held_out and skill.new_phrasings and chance.random() < 0.5)
        is_plain = not material.is_held_out and chance.random() < PLAIN
        taught = skill.taught_phrasings[:1] if is_plain else skill.taught_phrasings
        phrasing = pick(skill.new_phrasings if is_new else taught, chance)
        assert phrasing is not None
        messages: list[Message] = [
            *made.before,
            {"role": "user", "content": phrasing.format(**made.fields)},
            {"role": "assistant", "content": made.answer},
        ]
        yield (
            messages,
            {"skill": skill.name, "phrasing": phrasing, "is_new": is_new, "fields": dict(made.fields)},
        )
