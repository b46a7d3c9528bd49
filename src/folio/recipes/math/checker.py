"""A verifiable reward: whether the number after #### is the solution of a GSM8K word problem."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache

from folio.data.known import word_problems

ANSWER = re.compile(r"####\s*\$?\s*(-?)\$?(\d[\d,]*(?:\.\d+)?)", re.ASCII)


def score(prompt: str, completion: str) -> float:
    """Return 1 if the last number after #### is that of the reference solution, else 0; the working is not checked.

    Raises LookupError if the prompt is not a problem of GSM8K.
    """
    right = right_answers().get(prompt)
    if right is None:
        raise LookupError("no solution of GSM8K's is known")
    return float(answer_in(completion) == right)


@cache
def right_answers() -> dict[str, Decimal | None]:
    """Return the solution of each problem, training and held-out."""
    found = word_problems()
    return {talk[0]["content"]: answer_in(talk[1]["content"]) for talk in (*found.train, *found.validation)}


def answer_in(text: str) -> Decimal | None:
    """Return the last number after ####, in any notation (1080, $1,080, 1080.00), or None if there is none."""
    written = ANSWER.findall(text)
    if not written:
        return None
    sign, digits = written[-1]
    return Decimal(sign + digits.replace(",", ""))
