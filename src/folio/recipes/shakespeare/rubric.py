"""A judge of answers to requests, in place of human raters (docs/rubric.md): is it what was asked for, and is it good verse?

folio calls `score`. To change the judgment, change MET and CRITERIA or write another function like `score`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from folio.data.corpora import load_corpus
from folio.data.skills import SKILLS
from folio.errors import UserError

MET = 0.3
"""Weight of a request that is met, where answers to it can be better or worse; the rest is that of the verse. A checker,
which is a reward of its own, has more to say on the request (grpo.toml)."""


def score(prompt: str, completion: str, skill: str, fields: Mapping[str, str]) -> float:
    """Return the quality of an answer, from 0 to 1.

    skill, fields: what was asked for, as in the columns of `make_instructions`. Raises UserError if the plays are not
    available.
    """
    asked = SKILLS[skill]
    met = float(asked.met(fields, completion))
    return MET * met + (1 - MET) * verse_quality(completion) if asked.is_free else met


def verse_quality(completion: str) -> float:
    """Return the weighted sum of CRITERIA, or 0 without a word."""
    text = re.sub(r"\A.*:\n", "", completion).strip()  # a speaker's name is no verse
    return sum(weight * criterion(text) for weight, criterion in CRITERIA.values()) if words(text) else 0.0


# The criteria, from 0 (bad) to 1 (good), of texts with a word in them


def vocabulary(text: str) -> float:
    """Score the share of words that occur in the plays, 0 if a fifth do not: a character model makes words up."""
    said = words(text)
    return ramp(sum(word in plays().words for word in said) / len(said), 0.8, 1.0)


def phrasing(text: str) -> float:
    """Return the share of word pairs that occur in the plays, so that word order counts; repeated pairs do not count."""
    said = words(text)
    return len(set(pairwise(said)) & plays().pairs) / max(len(said) - 1, 1)


def sentences(text: str) -> float:
    """Return 1 for a capital at the beginning and punctuation at the end, half of it for one of them."""
    begins, ends = re.match(CAPITAL, text), re.search(r"[.!?;:,]['-]*$", text)
    return 0.5 * bool(begins) + 0.5 * bool(ends)


def length(text: str) -> float:
    """Score the length: best from 40 characters, a line of verse, to 110, so that neither extreme is exploited."""
    return ramp(len(text), 0, 40) * ramp(len(text), 170, 110)


def verse(text: str) -> float:
    """Return the share of lines that look like verse; the plays also have prose, so the weight is small."""
    lines = text.split("\n")
    return sum(bool(re.match(CAPITAL, line)) and len(line) <= 60 for line in lines) / len(lines)


CRITERIA: dict[str, tuple[float, Callable[[str], float]]] = {
    "vocabulary": (0.2, vocabulary),
    "phrasing": (0.1, phrasing),
    "sentences": (0.3, sentences),
    "length": (0.3, length),
    "verse": (0.1, verse),
}
"""The weight and function of each criterion of verse."""


# Helpers

CAPITAL = r"['-]*[A-Z]"


class Plays(NamedTuple):
    """The words of the plays and their adjacent pairs."""

    words: frozenset[str]
    pairs: frozenset[tuple[str, str]]


@cache
def plays() -> Plays:
    """Read the training part of the plays, once; the rest is held out."""
    corpus = load_corpus("shakespeare")
    if corpus.name != "shakespeare":
        raise UserError(f"{corpus.notices[-1]} The rubric needs the plays.")
    said = words(corpus.split()[0])
    return Plays(frozenset(said), frozenset(pairwise(said)))


def words(text: str) -> list[str]:
    """Return the runs of letters in lower case: hang'd and good-night are two words each."""
    return re.findall(r"[a-z]+", text.lower())


def ramp(value: float, bad: float, good: float) -> float:
    """Interpolate linearly from 0 at `bad` to 1 at `good`, clipped beyond them."""
    return min(1.0, max(0.0, (value - bad) / (good - bad)))
