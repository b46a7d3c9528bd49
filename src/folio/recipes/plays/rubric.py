"""A rule-based judge of replies, in place of human raters (docs/rubric.md).

folio calls `score`. To change the judgment, change CRITERIA or write another function like `score`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from folio.data.corpora import load_corpus
from folio.errors import UserError


def score(prompt: str, completion: str) -> float:
    """Return the quality of a reply, 0 to 1: the weighted sum of CRITERIA, or 0 if it has no words.

    Raises UserError if the plays are not available.
    """
    if not words(completion):
        return 0.0
    return sum(weight * criterion(prompt, completion) for weight, criterion in CRITERIA.values())


# The criteria, from 0 (bad) to 1 (good), of completions with a word in them


def vocabulary(prompt: str, completion: str) -> float:
    """Score the share of words that occur in the plays, 0 if a fifth do not: a character model makes words up."""
    said = words(completion)
    return ramp(sum(word in plays().words for word in said) / len(said), 0.8, 1.0)


def phrasing(prompt: str, completion: str) -> float:
    """Return the share of word pairs that occur in the plays, so that word order counts; repeated pairs do not count."""
    said = words(completion)
    new = set(pairwise(said)) - set(pairwise(words(prompt)))
    return len(new & plays().pairs) / max(len(said) - 1, 1)


def sentences(prompt: str, completion: str) -> float:
    """Return 1 for a capital at the beginning and punctuation at the end, 0.5 without the capital, 0 without the end."""
    text = completion.strip()
    if not re.search(r"[.!?]'?$", text):
        return 0.0
    return 1.0 if re.match(CAPITAL, text) else 0.5


def novelty(prompt: str, completion: str) -> float:
    """Score the share of word triples that repeat neither the reply nor the prompt, 0 if half of them do."""
    said = triples(completion)
    return ramp(len(set(said) - set(triples(prompt))) / len(said), 0.5, 1.0)


def length(prompt: str, completion: str) -> float:
    """Score the length: best from 40 characters, a line of verse, to 90, so that neither extreme is exploited."""
    n_characters = len(completion.strip())
    return ramp(n_characters, 0, 40) * ramp(n_characters, 150, 90)


def verse(prompt: str, completion: str) -> float:
    """Return the share of lines that look like verse; the plays also have prose, so the weight is small."""
    lines = completion.strip().split("\n")
    return sum(bool(re.match(CAPITAL, line)) and len(line) <= 55 for line in lines) / len(lines)


def relevance(prompt: str, completion: str) -> float:
    """Return 1 if the reply shares an uncommon word with the prompt, so that no reply fits all prompts."""
    shared = set(words(prompt)) & set(words(completion))
    return float(bool(shared - plays().common))


CRITERIA: dict[str, tuple[float, Callable[[str, str], float]]] = {
    "vocabulary": (0.15, vocabulary),
    "phrasing": (0.10, phrasing),
    "sentences": (0.25, sentences),
    "novelty": (0.10, novelty),
    "length": (0.25, length),
    "verse": (0.10, verse),
    "relevance": (0.05, relevance),
}
"""The weight and function of each criterion."""


# Helpers

CAPITAL = r"'?[A-Z]"


class Plays(NamedTuple):
    """The words of the plays, their adjacent pairs, and the hundred most common words."""

    words: frozenset[str]
    pairs: frozenset[tuple[str, str]]
    common: frozenset[str]


@cache
def plays() -> Plays:
    """Read the training part of the plays, once; the rest is held out."""
    corpus = load_corpus("shakespeare")
    if corpus.name != "shakespeare":
        raise UserError(f"{corpus.notices[-1]} The rubric needs the plays.")
    said = words(corpus.split()[0])
    common = [word for word, _ in Counter(said).most_common(100)]
    return Plays(frozenset(said), frozenset(pairwise(said)), frozenset(common))


def words(text: str) -> list[str]:
    """Return the runs of letters in lower case: hang'd and good-night are two words each."""
    return re.findall(r"[a-z]+", text.lower())


def triples(text: str) -> list[tuple[str, ...]]:
    """Return all runs of three words, or one of all words if there are fewer."""
    said = words(text)
    return [tuple(said[i : i + 3]) for i in range(max(len(said) - 2, 1))]


def ramp(value: float, bad: float, good: float) -> float:
    """Interpolate linearly from 0 at `bad` to 1 at `good`, clipped beyond them."""
    return min(1.0, max(0.0, (value - bad) / (good - bad)))
