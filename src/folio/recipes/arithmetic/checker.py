"""A reward that can be verified: whether a sum is right. Nobody has to be asked, and nothing can fool it."""

from __future__ import annotations

import re

PROBLEM = re.compile(r"(\d+)\+(\d+)", re.ASCII)


def score(prompt: str, completion: str) -> float:
    """1 if the last word of the completion is the sum that the prompt asks for, else 0.

    Only the answer counts: how it was found is up to who answers. 0 where the prompt asks for no sum.
    """
    asked = PROBLEM.search(prompt)
    words = completion.split()
    if asked is None or not words:
        return 0.0
    return float(words[-1] == str(int(asked[1]) + int(asked[2])))
