"""A verifiable reward: whether the answer to a sum is correct."""

from __future__ import annotations

import re

PROBLEM = re.compile(r"(\d+)\+(\d+)", re.ASCII)


def score(prompt: str, completion: str) -> float:
    """Return 1 if the last word of the completion is the sum in the prompt, else 0, also for a prompt without a sum.

    The working is not checked.
    """
    asked = PROBLEM.search(prompt)
    words = completion.split()
    if asked is None or not words:
        return 0.0
    return float(words[-1] == str(int(asked[1]) + int(asked[2])))
