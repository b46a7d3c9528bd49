"""Whether an answer does what was asked for, as a reward."""

from __future__ import annotations

from collections.abc import Mapping

from folio.data.skills import SKILLS


def met(prompt: str, completion: str, skill: str, fields: Mapping[str, str]) -> float:
    """Return 1 for an answer that meets its request, by the checker of its skill, else 0."""
    return float(SKILLS[skill].met(fields, completion))
