"""A reward that can be verified: whether a word problem of GSM8K has the right number after ####, as its solutions do."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache

from folio.data.known import word_problems

ANSWER = re.compile(r"####\s*\$?\s*(-?)\$?(\d[\d,]*(?:\.\d+)?)", re.ASCII)


def score(prompt: str, completion: str) -> float:
    """1 if the last number after #### is that of the problem's own solution, else 0.

    Only the number counts: how it was found is up to who answers. Raises LookupError where the prompt is none of
    GSM8K's problems, for which there is no solution.
    """
    right = right_answers().get(prompt)
    if right is None:
        raise LookupError("no solution of GSM8K's is known")
    return float(answer_in(completion) == right)


@cache
def right_answers() -> dict[str, Decimal | None]:
    """The number that solves each problem, of those to learn from and of those to measure on."""
    found = word_problems()
    return {talk[0]["content"]: answer_in(talk[1]["content"]) for talk in (*found.train, *found.validation)}


def answer_in(text: str) -> Decimal | None:
    """The last number after ####, in whichever way it is written: 1080, $1,080, 1080.00. None where there is none."""
    written = ANSWER.findall(text)
    if not written:
        return None
    sign, digits = written[-1]
    return Decimal(sign + digits.replace(",", ""))
