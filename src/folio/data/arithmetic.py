"""Sums: a text of them, worked examples and problems, made from fixed seeds and so the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import cycle, islice, zip_longest
from random import Random
from typing import NamedTuple

SUMS = 30_000
"""In the text."""
FORMS = (
    "{0.problem}={0.answer}\n",
    "{0.problem}\n{0.working}\n",
    "{0.problem}={0.answer}\n",
    "{0.problem}=\n{0.working}\n",
)
"""In which they stand there: half of them are worked out. What comes between problem and working differs, so that a model
learns to find the problem, not to count back to it."""
EXAMPLES = 16
"""Problems with their working: few, for somebody had to write them."""
UNSEEN_EXAMPLES = 100
"""The same, to measure on."""
PROBLEMS = 5_000
"""Problems alone, as many as one likes: nobody has to work them out."""
HELD_OUT = 2_000
"""Problems to measure on."""


class Sum(NamedTuple):
    """Two numbers to add, from 0 to 999."""

    a: int
    b: int

    @property
    def problem(self) -> str:
        """As in 57+168."""
        return f"{self.a}+{self.b}"

    @property
    def answer(self) -> str:
        return str(self.a + self.b)

    @property
    def working(self) -> str:
        """The columns from the right, a line each, with what is carried; then the answer: 7+8=15, 5+6+1=12, 0+1+1=2, 225.

        Lines, as in the text, for a model knows no characters but those that it has read there.
        """
        steps, carried = [], 0
        for x, y in zip_longest(reversed(str(self.a)), reversed(str(self.b)), fillvalue="0"):
            total = int(x) + int(y) + carried
            steps.append(f"{x}+{y}{'+1' if carried else ''}={total}")
            carried = total // 10
        return "\n".join([*steps, self.answer])

    @property
    def is_held_out(self) -> bool:
        """Whether it only measures, as a tenth of all sums do, each with its mirror image.

        Those of two single digits never do: they stand in the working of others.
        """
        if max(self) < 10:
            return False
        digest = hashlib.sha256("+".join(map(str, sorted(self))).encode()).digest()
        return digest[0] < 26


def text() -> str:
    """Sums, written in each of FORMS in turn. Nothing held out is among them."""
    drawn = zip(islice(sums(1, held_out=False), SUMS), cycle(FORMS), strict=False)
    return "".join(form.format(each) for each, form in drawn)


def examples() -> tuple[list[Sum], list[Sum]]:
    """Sums whose working is to be learned, and held-out ones."""
    return different(2, EXAMPLES, held_out=False), unseen()[:UNSEEN_EXAMPLES]


def problems() -> tuple[list[Sum], list[Sum]]:
    """Sums to be tried, and held-out ones."""
    return different(3, PROBLEMS, held_out=False), unseen()


def unseen() -> list[Sum]:
    """Sums that occur nowhere else, each once."""
    return different(4, HELD_OUT, held_out=True)


def different(seed: int, n: int, *, held_out: bool) -> list[Sum]:
    """n sums, each once."""
    found: dict[Sum, None] = {}
    for each in sums(seed, held_out=held_out):
        found[each] = None
        if len(found) == n:
            break
    return list(found)


def sums(seed: int, *, held_out: bool) -> Iterator[Sum]:
    """An endless stream of sums that are held out, or of those that are not. Short numbers come as often as long ones."""
    chance = Random(seed)

    def number() -> int:
        # Of all that Random can do, only random() is promised to stay the same in later versions of Python.
        limit = 10 ** (1 + int(3 * chance.random()))
        return int(limit * chance.random())

    while True:
        drawn = Sum(number(), number())
        if drawn.is_held_out == held_out:
            yield drawn
