"""Make instructions from any text: requests whose answers are in the text.

A model that continues texts has little reason to look back at a request. Requests that cannot be answered without it, such
as to repeat a line, teach the copying (Olsson et al., 2022) that others, such as to write about a word, then use.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, islice
from random import Random

from folio.data.conversations import Conversation
from folio.data.material import Material
from folio.data.skills import SKILLS, Skill, drawn
from folio.errors import UserError
from folio.tokenizer.chat_template import Message


def instructions(text: str, n: int = 16_000, *, seed: int = 1) -> list[dict[str, list[Message]]]:
    """Return rows to fine-tune on, such as `{"messages": [...]}`: n requests and their answers, made from a text.

    Of a model that continues the text, about 16,000 of them make an assistant that does what it is asked (docs/sft.md).
    Raises UserError for a text that has no lines for them.
    """
    return [{"messages": list(each)} for each in make_instructions(Material(text), n, seed)]


def make_instructions(
    material: Material, n: int, seed: int, *, skills: Mapping[str, Skill] = SKILLS
) -> list[Conversation]:
    """Return n conversations of one request and its answer, drawn from a text.

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
    shares = list(accumulate(skill.share for skill in skills))
    number = 0
    while True:
        skill = skills[bisect(shares, chance.random() * shares[-1])]
        made = drawn(skill, material, chance)
        if made is None:
            continue
        fields, answer = made
        number += 1
        *seen, last = skill.phrasings
        is_new = material.is_held_out and chance.random() < 0.5
        phrasing = last if is_new or not seen else seen[int(chance.random() * len(seen))]
        yield Conversation(
            [
                {"role": "user", "content": phrasing.format(**fields)},
                {"role": "assistant", "content": answer},
            ],
            f"instruction {number}",
            {"skill": skill.name, "phrasing": phrasing, "is_new": is_new, "fields": dict(fields)},
        )
