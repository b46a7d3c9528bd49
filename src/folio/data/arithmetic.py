"""Generate sums from fixed seeds, the same on every machine: a text, worked examples, and problems."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import cycle, islice, zip_longest
from random import Random
from typing import NamedTuple

SUMS = 30_000
"""Sums in the text."""
FORMS = (
    "{0.problem}={0.answer}\n",
    "{0.problem}\n{0.working}\n",
    "{0.problem}={0.answer}\n",
    "{0.problem}=\n{0.working}\n",
)
"""Forms of sums in the text; half are worked out. The characters between problem and working differ, so that a model
learns to find the problem, not to count back to it."""
EXAMPLES = 16
"""Problems with their working: few, as if written by hand."""
UNSEEN_EXAMPLES = 100
"""Held-out problems with their working."""
PROBLEMS = 5_000
"""Problems without working, of which any number can be had."""
HELD_OUT = 2_000
"""Held-out problems without working."""


class Sum(NamedTuple):
    """Two numbers from 0 to 999 to add."""

    a: int
    b: int

    @property
    def problem(self) -> str:
        """The problem, as in 57+168."""
        return f"{self.a}+{self.b}"

    @property
    def answer(self) -> str:
        return str(self.a + self.b)

    @property
    def working(self) -> str:
        """The columns from the right with their carries, a line each, then the answer: 7+8=15, 5+6+1=12, 0+1+1=2, 225.

        In lines, as in the text: a model knows only the characters that it was trained on.
        """
        steps, carried = [], 0
        for x, y in zip_longest(reversed(str(self.a)), reversed(str(self.b)), fillvalue="0"):
            total = int(x) + int(y) + carried
            steps.append(f"{x}+{y}{'+1' if carried else ''}={total}")
            carried = total // 10
        return "\n".join([*steps, self.answer])

    @property
    def is_held_out(self) -> bool:
        """Whether the sum is for validation only, as a tenth of all sums is, each with its mirror image.

        Sums of two single digits never are: they occur in the working of others.
        """
        if max(self) < 10:
            return False
        digest = hashlib.sha256("+".join(map(str, sorted(self))).encode()).digest()
        return digest[0] < 26


def text() -> str:
    """Return training sums, written in each of FORMS in turn."""
    drawn = zip(islice(sums(1, held_out=False), SUMS), cycle(FORMS), strict=False)
    return "".join(form.format(each) for each, form in drawn)


def examples() -> tuple[list[Sum], list[Sum]]:
    """Return training and validation sums, to be answered with their working."""
    return different(2, EXAMPLES, held_out=False), unseen()[:UNSEEN_EXAMPLES]


def problems() -> tuple[list[Sum], list[Sum]]:
    """Return training and validation sums, to be solved."""
    return different(3, PROBLEMS, held_out=False), unseen()


def unseen() -> list[Sum]:
    """Return different held-out sums."""
    return different(4, HELD_OUT, held_out=True)


def different(seed: int, n: int, *, held_out: bool) -> list[Sum]:
    """Return n different sums."""
    found: dict[Sum, None] = {}
    for each in sums(seed, held_out=held_out):
        found[each] = None
        if len(found) == n:
            break
    return list(found)


def sums(seed: int, *, held_out: bool) -> Iterator[Sum]:
    """Yield held-out or training sums without end. Short numbers are as frequent as long ones."""
    chance = Random(seed)

    def number() -> int:
        # Of all that Random can do, only random() is promised to stay the same in later versions of Python.
        limit = 10 ** (1 + int(3 * chance.random()))
        return int(limit * chance.random())

    while True:
        drawn = Sum(number(), number())
        if drawn.is_held_out == held_out:
            yield drawn
