"""Skills: kinds of requests that can be made from any text, with a checker of the answers to each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, TypeVar

from folio.data.material import Material, words

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
TRIES = 100
"""How often a skill is tried before a text is said to have nothing for it."""

Drawn = TypeVar("Drawn")
Fields = Mapping[str, str]
"""What a phrasing is filled in with, and what the checker compares an answer with."""
Maker = Callable[[Material, Random], "tuple[Fields, str] | None"]
"""Return the fields of a request and an answer to it; None where what was drawn does not do."""


@dataclass(frozen=True)
class Skill:
    """A kind of request.

    phrasings: with fields in braces; the last of them is for validation only. make: draws a request from a text. met: says
    whether an answer does what its fields ask for. share: how often it is asked for, relative to other skills.
    """

    name: str
    phrasings: Sequence[str]
    make: Maker
    met: Callable[[Fields, str], bool]
    share: float


# Makers


def about_a_line(name: str, phrasings: Sequence[str], answer: Callable[[str], str], share: float) -> Skill:
    """Return a skill that asks about a {line}, to which there is one right answer."""

    def make(material: Material, chance: Random) -> tuple[Fields, str] | None:
        line = pick(material.lines, chance)
        return ({"line": line}, answer(line)) if line else None

    def met(fields: Fields, completion: str) -> bool:
        return completion.strip() == answer(fields["line"])

    return Skill(name, phrasings, make, met, share)


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


def a_beginning(material: Material, chance: Random) -> tuple[Fields, str] | None:
    """Ask for a line that begins with given words."""
    line = pick(material.lines, chance)
    if line is None or len(parts := line.split()) < 4:
        return None
    return {"start": " ".join(parts[: len(parts) // 2])}, line


def about(material: Material, chance: Random) -> tuple[Fields, str] | None:
    """Ask for words about something: the answer begins at a line that has it."""
    topic = pick(material.topics, chance)
    if topic is None:
        return None
    return {"word": topic}, material.passage(a_place(material, topic, chance), most_lines=2)


def a_place(material: Material, topic: str, chance: Random) -> int:
    """Draw one of the lines that have a word."""
    places = material.places[topic]
    return places[int(chance.random() * len(places))]


def verses(material: Material, chance: Random) -> tuple[Fields, str] | None:
    """Ask for a number of lines about something."""
    topic, n = pick(material.topics, chance), 2 + int(2 * chance.random())
    if topic is None:
        return None
    passage = material.passage(a_place(material, topic, chance), most_lines=n)
    return ({"word": topic, "n": NUMBERS[n]}, passage) if passage.count("\n") == n - 1 else None


def a_voice(material: Material, chance: Random) -> tuple[Fields, str] | None:
    """Ask for the words of a speaker."""
    speech = pick(material.speeches, chance)
    return ({"name": speech[0]}, f"{speech[0]}:\n{speech[1]}") if speech else None


def a_reply(material: Material, chance: Random) -> tuple[Fields, str] | None:
    """Say something, for a reply."""
    pair = pick(material.replies, chance)
    return ({"speech": pair[0]}, pair[1]) if pair else None


def pick(items: Sequence[Drawn], chance: Random) -> Drawn | None:
    """Draw one of the items, if there is one."""
    return items[int(chance.random() * len(items))] if items else None


# Checkers


def goes_on(fields: Fields, completion: str) -> bool:
    """Return whether a completion begins with the given words, and says more, on one line."""
    line = completion.strip()
    return line.startswith(f"{fields['start']} ") and "\n" not in line


def has_word(fields: Fields, completion: str) -> bool:
    """Return whether a completion has the word that was asked for."""
    asked, said = words(fields["word"].lower()), words(completion.lower())
    return any(said[at : at + len(asked)] == asked for at in range(len(said))) if asked else False


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
            ("Repeat: {line}", "Say again: {line}", "Copy: {line}", "Write this: {line}", "{line} Repeat that.", "Repeat after me: {line}"),
            str,
            0.27,
        ),
        about_a_line(
            "capitals",
            ("In capitals: {line}", "Shout: {line}", "Capitals: {line}", "Write in capitals: {line}", "{line} Shout that.", "Put in capitals: {line}"),
            str.upper,
            0.14,
        ),
        about_a_line(
            "last word",
            ("Last word of: {line}", "The last word of: {line}", "Last word: {line}", "What is the last word of: {line}"),
            last_word,
            0.08,
        ),
        about_a_line(
            "first word",
            ("First word of: {line}", "The first word of: {line}", "First word: {line}", "What is the first word of: {line}"),
            first_word,
            0.05,
        ),
        about_a_line(
            "count",
            ("How many words: {line}", "Count the words: {line}", "Count: {line}", "How many words are in: {line}"),
            number_of_words,
            0.04,
        ),
        Skill(
            "complete",
            ("Complete: {start}", "Go on: {start}", "Finish this line: {start}", "Complete this line: {start}"),
            a_beginning,
            goes_on,
            0.06,
        ),
        Skill(
            "about",
            ("Write about {word}.", "Speak of {word}.", "Tell me about {word}.", "Say something about {word}.", "Speak about {word}."),
            about,
            has_word,
            0.24,
        ),
        Skill(
            "poem",
            ("Write {n} lines about {word}.", "A poem about {word} in {n} lines.", "Give me {n} lines about {word}.", "A poem of {n} lines about {word}."),
            verses,
            has_lines,
            0.06,
        ),
        Skill("speak as", ("Speak as {name}.", "Say something as {name}.", "You are {name}.", "Speak like {name}."), a_voice, is_in_voice, 0.03),
        Skill("reply", ("{speech}",), a_reply, says_something, 0.03),
    )
}  # fmt: skip
"""Every skill, by name."""


def drawn(skill: Skill, material: Material, chance: Random) -> tuple[Fields, str] | None:
    """Return the fields of a request and an answer that meets it, or None if the text seems to have none."""
    for _ in range(TRIES):
        made = skill.make(material, chance)
        if made is not None and skill.met(*made):
            return made
    return None


def recognized(request: str, skills: Mapping[str, Skill] = SKILLS) -> tuple[Skill, Fields] | None:
    """Return the skill that a request asks for, and the fields of its phrasing; None for a request of no known kind."""
    found = (
        (phrasing, skill, match.groupdict())
        for skill in skills.values()
        for phrasing in skill.phrasings
        if (match := _pattern(phrasing).fullmatch(request.strip())) and not phrasing.startswith("{speech}")
    )
    # Of those that match, the one that says most itself: "Write this: {line}" before "{line} Repeat that.".
    best = max(found, key=lambda each: len(re.sub(r"{\w+}", "", each[0])), default=None)
    return best and (best[1], best[2])


def _pattern(phrasing: str) -> re.Pattern[str]:
    """Return a pattern of requests in a phrasing, with a group for each field."""
    parts = re.split(r"({\w+})", phrasing)
    return re.compile(
        "".join(f"(?P<{part[1:-1]}>.+?)" if part[:1] == "{" else re.escape(part) for part in parts)
    )


def checker_of(columns: Mapping[str, Any]) -> Callable[[str], bool] | None:
    """Return the checker of answers to the request in a row that `make_instructions` made, or None for other rows."""
    skill, fields = SKILLS.get(str(columns.get("skill"))), columns.get("fields")
    return partial(skill.met, fields) if skill and isinstance(fields, Mapping) else None
