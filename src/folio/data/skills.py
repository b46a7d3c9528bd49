"""Skills: kinds of requests that can be made from any text, with a checker of the answers to each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import product
from random import Random
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

from folio.data.material import Material, words
from folio.tokenizer.chat_template import Message

NUMBERS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
"""In words: a text may have no digits."""
NEW_PHRASINGS = 5
"""One phrasing of so many is for validation only."""
DRAWN_PLACES = 4
"""Lines that are drawn for an answer about a word."""
MOST_TIMES = 2
"""How often a word may be said that was asked for: more is evasion."""
SCRAMBLED, REDRAWN = 0.2, 0.15
"""Shares of lines, in training, whose characters are in another order, and whose words are drawn anew."""
TRIES = 100
"""How often a skill is tried before a text is said to have nothing for it."""

Drawn = TypeVar("Drawn")
Fields = Mapping[str, str]
"""What a phrasing is filled in with, and what the checker compares an answer with."""


class Made(NamedTuple):
    """The fields of a request, an answer that meets it, and the messages before it."""

    fields: Fields
    answer: str
    before: Sequence[Message] = ()


Maker = Callable[[Material, Random], Made | None]
"""Draw a request and an answer; None where what was drawn does not do."""


@dataclass(frozen=True)
class Skill:
    """A kind of request.

    patterns: of its phrasings, with fields in braces and alternatives in brackets: "[Repeat|Copy]: {line}" has two. make:
    draws a request from a text. met: says whether an answer does what its fields ask for. share: how often it is asked for,
    relative to other skills. is_free: whether a request has many good answers, so that preferences and rewards can tell
    better ones from worse.
    """

    name: str
    patterns: Sequence[str]
    make: Maker
    met: Callable[[Fields, str], bool]
    share: float
    is_free: bool = False

    @cached_property
    def phrasings(self) -> tuple[str, ...]:
        """All phrasings."""
        return tuple("".join(each) for pattern in self.patterns for each in alternatives(pattern))

    @cached_property
    def new_phrasings(self) -> tuple[str, ...]:
        """Those for validation only, chosen by hash: other combinations of parts that are all in taught ones.

        The first of a pattern is none of them.
        """
        parts = {
            "".join(each): set(enumerate(each)) for pattern in self.patterns for each in alternatives(pattern)
        }
        first = {"".join(alternatives(pattern)[0]) for pattern in self.patterns}
        new: list[str] = []
        for phrasing in sorted(parts.keys() - first, key=lambda phrasing: crc32(phrasing.encode())):
            taught = [parts[each] for each in parts if each not in (*new, phrasing)]
            if len(new) < len(parts) // NEW_PHRASINGS and parts[phrasing] <= set().union(*taught):
                new.append(phrasing)
        return tuple(new)

    @cached_property
    def taught_phrasings(self) -> tuple[str, ...]:
        """Those for training."""
        return tuple(phrasing for phrasing in self.phrasings if phrasing not in self.new_phrasings)


def alternatives(pattern: str) -> list[tuple[str, ...]]:
    """Return the parts of all texts of a pattern: "[Say|Repeat][| this]: {line}" has four."""
    parts = re.split(r"\[(.*?)\]", pattern)
    return list(product(*(part.split("|") if n % 2 else [part] for n, part in enumerate(parts))))


# Makers


def a_line(material: Material, chance: Random) -> str | None:
    """Draw a line, in training sometimes a scrambled one, or one in which words come again."""
    line = pick(material.lines, chance)
    if line is None or material.is_held_out:
        return line
    share = chance.random()
    if share < SCRAMBLED:
        return scrambled(line, chance)
    return redrawn(line, chance) if share < SCRAMBLED + REDRAWN else line


def scrambled(line: str, chance: Random) -> str:
    """Return the characters of a line in another order, between spaces as they were: what cannot be guessed must be copied."""
    characters = iter(sorted(line.replace(" ", ""), key=lambda _: chance.random()))
    return "".join(each if each == " " else next(characters) for each in line)


def redrawn(line: str, chance: Random) -> str:
    """Return as many words drawn from a line: where some come again, the place to copy from is not found by a word alone."""
    return " ".join(str(pick(line.split(), chance)) for _ in line.split())


def a_few_words(material: Material, chance: Random) -> str | None:
    """Draw the beginning of a line, of two to six words."""
    line, n = pick(material.lines, chance), 2 + int(5 * chance.random())
    return " ".join(line.split()[:n]) if line else None


def about_a_line(
    name: str,
    patterns: Sequence[str],
    answer: Callable[[str], str],
    share: float,
    draw: Callable[[Material, Random], str | None] = a_line,
) -> Skill:
    """Return a skill that asks about a {line}, to which there is one right answer."""

    def make(material: Material, chance: Random) -> Made | None:
        line = draw(material, chance)
        return Made({"line": line}, answer(line)) if line else None

    def met(fields: Fields, completion: str) -> bool:
        return completion.strip() == answer(fields["line"])

    return Skill(name, patterns, make, met, share)


def about_the_answer(name: str, patterns: Sequence[str], answer: Callable[[str], str], share: float) -> Skill:
    """Return a skill that asks about the answer that came before, a line, and to which there is one right answer."""
    asked = about_a_line(name, patterns, answer, share)

    def make(material: Material, chance: Random) -> Made | None:
        topic, phrasing = pick(material.topics, chance), pick(SKILLS["about"].taught_phrasings, chance)
        if topic is None or phrasing is None:
            return None
        line = material.passage(a_place(material, topic, chance), most_lines=1)
        request, said = phrasing.format(word=topic), line
        return Made(
            {"line": line},
            answer(line),
            ({"role": "user", "content": request}, {"role": "assistant", "content": said}),
        )

    return replace(asked, make=make)


def first_word(line: str) -> str:
    """Return the first word of a line, "" where it has none."""
    return next(iter(words(line)), "")


def last_word(line: str) -> str:
    """Return the last word of a line, "" where it has none."""
    return next(reversed(words(line)), "")


def number_of_words(line: str) -> str:
    """Return the number of words of a line, in words."""
    n = len(words(line))
    return NUMBERS[n] if n < len(NUMBERS) else "many"


def a_beginning(material: Material, chance: Random) -> Made | None:
    """Ask for a line that begins with given words."""
    line = pick(material.lines, chance)
    if line is None or len(parts := line.split()) < 4:
        return None
    return Made({"start": " ".join(parts[: len(parts) // 2])}, line)


def about(material: Material, chance: Random) -> Made | None:
    """Ask for words about something: the answer begins at a line that has it."""
    topic = pick(material.topics, chance)
    if topic is None:
        return None
    n = 1 + int(2 * chance.random())
    return Made({"word": topic}, material.passage(a_place(material, topic, chance), most_lines=n))


def a_place(material: Material, topic: str, chance: Random) -> int:
    """Draw lines that have a word, and return the one that says it first: an answer that puts it off may forget it."""
    places = material.places[topic]
    drawn_places = [places[int(chance.random() * len(places))] for _ in range(DRAWN_PLACES)]
    return min(drawn_places, key=lambda place: material.all_lines[place].lower().find(topic))


def verses(material: Material, chance: Random) -> Made | None:
    """Ask for a number of lines about something."""
    topic, n = pick(material.topics, chance), 2 + int(2 * chance.random())
    if topic is None:
        return None
    passage = material.passage(a_place(material, topic, chance), most_lines=n)
    return Made({"word": topic, "n": NUMBERS[n]}, passage) if passage.count("\n") == n - 1 else None


def a_voice(material: Material, chance: Random) -> Made | None:
    """Ask for the words of a speaker."""
    speech = pick(material.speeches, chance)
    return Made({"name": speech[0]}, f"{speech[0]}:\n{speech[1]}") if speech else None


def a_reply(material: Material, chance: Random) -> Made | None:
    """Say something, for a reply."""
    pair = pick(material.replies, chance)
    return Made({"speech": pair[0]}, pair[1]) if pair else None


def pick(items: Sequence[Drawn], chance: Random) -> Drawn | None:
    """Draw one of the items, if there is one."""
    return items[int(chance.random() * len(items))] if items else None


# Checkers


def goes_on(fields: Fields, completion: str) -> bool:
    """Return whether a completion begins with the given words, and says more, on one line."""
    line = completion.strip()
    return line.startswith(f"{fields['start']} ") and "\n" not in line


def has_word(fields: Fields, completion: str) -> bool:
    """Return whether a completion has the word that was asked for, at most MOST_TIMES."""
    asked, said = words(fields["word"].lower()), words(completion.lower())
    n = sum(said[at : at + len(asked)] == asked for at in range(len(said))) if asked else 0
    return 1 <= n <= MOST_TIMES


def has_lines(fields: Fields, completion: str) -> bool:
    """Return whether a completion has the word and the number of lines."""
    lines = [line for line in completion.split("\n") if line.strip()]
    asked = fields["n"].lower()
    n = NUMBERS.index(asked) if asked in NUMBERS else int(asked) if asked.isdecimal() else None
    return len(lines) == n and has_word(fields, completion)


def is_in_voice(fields: Fields, completion: str) -> bool:
    """Return whether a completion is a speech of the speaker who was named."""
    return completion.startswith(f"{fields['name']}:\n") and len(completion.split(":\n", 1)[1].strip()) > 0


def says_something(fields: Fields, completion: str) -> bool:
    """Return whether a completion has words that differ from those it answers."""
    return bool(words(completion)) and completion.strip() != fields["speech"].strip()


SKILLS: Mapping[str, Skill] = {
    skill.name: skill
    for skill in (
        about_a_line(
            "repeat",
            ("[Repeat|Say|Copy|Write][| this| after me| again]: {line}",),
            str,
            0.30,
        ),
        about_a_line(
            "capitals",
            ("[In|Write in|Put in|Say in] [capitals|capital letters]: {line}", "[Shout|Capitalize][| this| it]: {line}"),
            str.upper,
            0.16,
        ),
        about_the_answer(
            "then capitals",
            ("[In|Now in|The same in|That in] [capitals|capital letters][.|, please.|]", "[Shout|Capitalize] [that|it][.|]"),
            str.upper,
            0.06,
        ),
        about_the_answer("then repeat", ("[Repeat|Say|Write] [that|it][| again][.|]",), str, 0.05),
        about_a_line(
            "last word",
            ("[The last|Last|Give me the last|Write the last|What is the last] word[ of|]: {line}",),
            last_word,
            0.10,
        ),
        about_a_line(
            "first word",
            ("[The first|First|Give me the first|Write the first|What is the first] word[ of|]: {line}",),
            first_word,
            0.06,
        ),
        about_a_line(
            "count",
            ("[How many|Count the|Count all|The number of] words[| in| of]: {line}",),
            number_of_words,
            0.06,
            draw=a_few_words,
        ),
        Skill(
            "complete",
            ("[Complete|Finish|Continue|Go on with][| this| this line]: {start}",),
            a_beginning,
            goes_on,
            0.06,
        ),
        Skill(
            "about",
            ("[Write|Speak|Talk|Write me something|Say something|Tell me] about {word}[.|]", "[Write|Speak|Talk] of {word}[.|]"),
            about,
            has_word,
            0.20,
            is_free=True,
        ),
        Skill(
            "poem",
            (
                "[A poem|Write a poem|Give me a poem] [about|of] {word} in {n} lines[.|]",
                "[Write|Give me|Say] {n} lines about {word}[.|]",
            ),
            verses,
            has_lines,
            0.05,
            is_free=True,
        ),
        Skill("speak as", ("[Speak|Talk|Say something|Answer] [as|like] {name}[.|]",), a_voice, is_in_voice, 0.03, is_free=True),
        Skill("reply", ("{speech}",), a_reply, says_something, 0.03, is_free=True),
    )
}  # fmt: skip
"""Every skill, by name."""


def drawn(skill: Skill, material: Material, chance: Random) -> Made | None:
    """Return a request and an answer that meets it, or None if the text seems to have none."""
    for _ in range(TRIES):
        made = skill.make(material, chance)
        if made is not None and skill.met(made.fields, made.answer):
            return made
    return None


def recognized(
    request: str, before: str = "", skills: Mapping[str, Skill] = SKILLS
) -> tuple[Skill, Fields] | None:
    """Return the skill that a request asks for, and the fields of its phrasing; None for a request of no known kind.

    before: the answer that came before, which a phrasing without fields is about.
    """
    found = (
        (phrasing, skill, match.groupdict() or {"line": before})
        for skill in skills.values()
        for phrasing in skill.phrasings
        if (match := _pattern(phrasing).fullmatch(request.strip()))
        and phrasing != "{speech}"
        and (match.groupdict() or before)
    )
    # Of those that match, the one that says most itself: "Write two lines about {word}" before "Write about {word}".
    best = max(found, key=lambda each: len(re.sub(r"{\w+}", "", each[0])), default=None)
    return best and (best[1], best[2])


@cache
def _pattern(phrasing: str) -> re.Pattern[str]:
    """Return a pattern of requests in a phrasing, with a group for each field."""
    parts = re.split(r"({\w+})", phrasing)
    return re.compile(
        "".join(f"(?P<{part[1:-1]}>.+?)" if part[:1] == "{" else re.escape(part) for part in parts),
        re.IGNORECASE,
    )


def checker_of(columns: Mapping[str, Any]) -> Callable[[str], bool] | None:
    """Return the checker of answers to the request in a row that `make_instructions` made, or None for other rows."""
    skill, fields = SKILLS.get(str(columns.get("skill"))), columns.get("fields")
    return partial(skill.met, fields) if skill and isinstance(fields, Mapping) else None
