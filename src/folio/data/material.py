"""The parts of a text that instructions are made of."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from textwrap import wrap
from zlib import crc32

from folio.data.plays import speeches

SHORTEST_LINE, LONGEST_LINE = 12, 60
"""Characters of a line to repeat."""
LONGEST_ANSWER = 130
"""Characters of an answer of several lines."""
LONGEST_EXCHANGE = 220
"""Characters of a speech and the reply to it, together."""
SHORTEST_WORD = 4
"""Letters of a word to write about."""
RAREST, COMMONEST = 3, 25
"""A word to write about occurs at least so often, and is none of the most frequent ones, which are so many, or a tenth of
all different words."""
HELD_OUT_WORDS = 10
"""One word of so many is never asked about in training."""


class Material:
    """The parts of a text that requests are made of.

    Its lines of up to LONGEST_LINE characters; longer ones are wrapped. is_held_out: whether it is for validation, where
    other words are asked about than in training. seen: lines of the training text, which are not asked about.
    """

    def __init__(self, text: str, *, is_held_out: bool = False, seen: Collection[str] = ()) -> None:
        self.text = text
        self.is_held_out = is_held_out
        self._seen = frozenset(seen)

    @cached_property
    def all_lines(self) -> list[str]:
        """Every line, in order."""
        return [part for line in self.text.split("\n") for part in wrap(line.strip(), LONGEST_LINE)]

    @cached_property
    def lines(self) -> list[str]:
        """Lines that are long enough to repeat, without names of speakers."""
        return [
            line
            for line in self.all_lines
            if len(line) >= SHORTEST_LINE
            and not line.endswith(":")
            and len(words(line)) > 1
            and line not in self._seen
        ]

    @cached_property
    def places(self) -> Mapping[str, Sequence[int]]:
        """For each word to write about, the numbers of the lines that have it, other than a speaker's name."""
        counts = Counter(words(self.text.lower()))
        found = defaultdict(list)
        for number, line in enumerate(self.all_lines):
            if not line.endswith(":"):
                for word in set(words(line.lower())):
                    found[word].append(number)
        common = {word for word, _ in counts.most_common(min(COMMONEST, len(counts) // 10))}
        return {
            word: places
            for word, places in found.items()
            if len(word) >= SHORTEST_WORD
            and word.isalpha()
            and word not in common
            and is_held_out(word) == self.is_held_out
            and (len(places) >= RAREST or self.is_held_out)
        }

    @cached_property
    def topics(self) -> list[str]:
        """The words to write about."""
        return sorted(self.places)

    @cached_property
    def speeches(self) -> list[tuple[str, str]]:
        """Speakers and short speeches, if the text is a play (see `plays.speeches`)."""
        return [(name, said) for name, said in speeches(self.text) if len(said) <= LONGEST_ANSWER]

    @cached_property
    def replies(self) -> list[tuple[str, str]]:
        """Short speeches, each with the next speaker's reply."""
        found = speeches(self.text)
        return [
            (said, reply)
            for (speaker, said), (other, reply) in pairwise(found)
            if speaker != other
            and len(said) + len(reply) <= LONGEST_EXCHANGE
            and len(reply) <= LONGEST_ANSWER
        ]

    def passage(self, start: int, most_lines: int) -> str:
        """Return lines from one on, up to a speaker's name and LONGEST_ANSWER characters."""
        kept = self.all_lines[start]
        for line in self.all_lines[start + 1 : start + most_lines]:
            if line.endswith(":") or len(kept) + len(line) >= LONGEST_ANSWER:
                break
            kept = f"{kept}\n{line}"
        return kept


def words(text: str) -> list[str]:
    """Return the words of a text: letters and digits with apostrophes between them."""
    return re.findall(r"\w+(?:['’]\w+)*", text)


def is_held_out(word: str) -> bool:
    """Return whether a word is asked about in validation only."""
    return crc32(word.lower().encode()) % HELD_OUT_WORDS == 0
