"""What makes a good reply, as a rule: it plays the people who compare answers (docs/rubric.md).

`score` is what folio calls. To change what is good, change CRITERIA, or write another function like `score`.
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
    """How good a reply is, from 0 to 1: the weighted sum of CRITERIA. One without any word is worth 0.

    Raises UserError where the plays cannot be had.
    """
    if not words(completion):
        return 0.0
    return sum(weight * criterion(prompt, completion) for weight, criterion in CRITERIA.values())


# The criteria, from 0 (bad) to 1 (good), of completions with a word in them


def vocabulary(prompt: str, completion: str) -> float:
    """The plays know its words: who writes letter by letter makes words up. 0 where a fifth of them are unknown."""
    said = words(completion)
    return ramp(sum(word in plays().words for word in said) / len(said), 0.8, 1.0)


def phrasing(prompt: str, completion: str) -> float:
    """The plays know its pairs of neighbours, or any order would do. A pair that was said before earns nothing."""
    said = words(completion)
    new = set(pairwise(said)) - set(pairwise(words(prompt)))
    return len(new & plays().pairs) / max(len(said) - 1, 1)


def sentences(prompt: str, completion: str) -> float:
    """It begins with a capital, and comes to an end: 0 where it was cut off, a half where only the beginning is bad."""
    text = completion.strip()
    if not re.search(r"[.!?]'?$", text):
        return 0.0
    return 1.0 if re.match(CAPITAL, text) else 0.5


def novelty(prompt: str, completion: str) -> float:
    """It repeats neither itself nor the prompt: three words in a row should be new. 0 where half of them are not."""
    said = triples(completion)
    return ramp(len(set(said) - set(triples(prompt))) / len(said), 0.5, 1.0)


def length(prompt: str, completion: str) -> float:
    """At least a line of verse, 40 characters, and at most 90, or a safe word would win, or a flood of them."""
    n_characters = len(completion.strip())
    return ramp(n_characters, 0, 40) * ramp(n_characters, 150, 90)


def verse(prompt: str, completion: str) -> float:
    """Its lines begin with a capital and are no longer than a verse. The plays have prose too: the weight is small."""
    lines = completion.strip().split("\n")
    return sum(bool(re.match(CAPITAL, line)) and len(line) <= 55 for line in lines) / len(lines)


def relevance(prompt: str, completion: str) -> float:
    """It takes up a word of the prompt, not one that everybody says: or one sentence would do for all prompts."""
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
"""What counts, and how much."""


# What they are made of

CAPITAL = r"'?[A-Z]"


class Plays(NamedTuple):
    """What the plays know: their words, which of them stand side by side, and the hundred that they say most."""

    words: frozenset[str]
    pairs: frozenset[tuple[str, str]]
    common: frozenset[str]


@cache
def plays() -> Plays:
    """Read once, when first asked. Only the training text: the rest is for measuring."""
    corpus = load_corpus("shakespeare")
    if corpus.name != "shakespeare":
        raise UserError(f"{corpus.notices[-1]} The rubric knows its words from the plays alone.")
    said = words(corpus.split()[0])
    common = [word for word, _ in Counter(said).most_common(100)]
    return Plays(frozenset(said), frozenset(pairwise(said)), frozenset(common))


def words(text: str) -> list[str]:
    """Runs of letters, in lower case: hang'd is two words, hang and d, and good-night as well."""
    return re.findall(r"[a-z]+", text.lower())


def triples(text: str) -> list[tuple[str, ...]]:
    """Every three words in a row, or all of fewer."""
    said = words(text)
    return [tuple(said[i : i + 3]) for i in range(max(len(said) - 2, 1))]


def ramp(value: float, bad: float, good: float) -> float:
    """0 at `bad` and 1 at `good`, a straight line from one to the other, and level beyond them."""
    return min(1.0, max(0.0, (value - bad) / (good - bad)))
