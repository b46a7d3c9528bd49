"""A judge of answers to instructions made from a text: whether the request is met, and how well the answer is written.

folio calls `score`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from folio.data.material import words
from folio.data.skills import SKILLS

MET, FORM = 0.7, 0.3
"""Weights of a request that is met, and of the form of the answer."""


def score(prompt: str, completion: str, skill: str, fields: Mapping[str, str]) -> float:
    """Return the quality of an answer, from 0 to 1."""
    asked = SKILLS[skill]
    met = float(asked.met(fields, completion))
    return MET * met + FORM * form(completion) if asked.is_free else met


def form(completion: str) -> float:
    """Return the mean of three criteria, each from 0 to 1: an end, no repetition, and a length that is worth reading."""
    return (ends(completion) + variety(completion) + length(completion)) / 3


def ends(completion: str) -> float:
    """Return whether the last character ends a sentence or a line of verse."""
    return float(bool(re.search(r"[.!?;,:]['\"”’]?$", completion.strip())))


def variety(completion: str) -> float:
    """Return the share of words that are not said again, 1 where at most every third is."""
    said = words(completion.lower())
    return min(1.0, 1.5 * len(set(said)) / len(said)) if said else 0.0


def length(completion: str) -> float:
    """Return 1 from 30 characters to 130, less towards none and 200."""
    n = len(completion.strip())
    return max(0.0, min(1.0, n / 30, (200 - n) / 70))
