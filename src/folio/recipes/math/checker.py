"""A verifiable reward: whether the number after #### is the solution of a GSM8K word problem."""

from __future__ import annotations

import re
from decimal import Decimal

ANSWER = re.compile(r"####\s*\$?\s*(-?)\$?(\d[\d,]*(?:\.\d+)?)", re.ASCII)


def score(prompt: str, completion: str, answer: str) -> float:
    """Return 1 if the last number after #### is that of the reference solution, else 0; the working is not checked.

    answer: the solution, a column of GSM8K. Raises ValueError if it has no number after ####.
    """
    right = answer_in(answer)
    if right is None:
        raise ValueError(f"the solution {answer[-60:]!r} has no number after ####")
    return float(answer_in(completion) == right)


def answer_in(text: str) -> Decimal | None:
    """Return the last number after ####, in any notation (1080, $1,080, 1080.00), or None if there is none."""
    written = ANSWER.findall(text)
    if not written:
        return None
    sign, digits = written[-1]
    return Decimal(sign + digits.replace(",", ""))
