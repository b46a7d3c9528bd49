"""What is counted: trials, and the fault of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from processes import HANGS, Outcome

from commands import Workshop

Fault = Literal["traceback", "silent", "lost", "hang", "wrong"]
FAULTS: dict[Fault, str] = {
    "traceback": "a traceback, or an end by a signal",
    "silent": "it went on as if all were well, and its result is another or cannot be trusted",
    "lost": "what had been learned does not go on, or not to the same end",
    "hang": "no end within the time limit",
    "wrong": "another exit code, or other words, than are right",
}
WORDS = 400
"""Characters of the beginning and of the end of an output that are kept as evidence."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Something that was tried. count: as how many trials it counts. evidence: the end of what was written."""

    what: str
    fault: Fault | None
    evidence: str = ""
    count: int = 1


Part = Callable[[Workshop, bool], Iterator[Trial]]
"""What tries things in a workshop: all of them, or, where the flag is set, a quick selection."""


def crash(outcome: Outcome) -> Fault | None:
    """Return the fault that no command may ever have."""
    if outcome.code == HANGS:
        return "hang"
    return "traceback" if "Traceback" in outcome.output or outcome.code not in (0, 2) else None


def trial(what: str, fault: Fault | None, outcome: Outcome, count: int = 1) -> Trial:
    """Return a trial with the end of its output as evidence, where it has a fault."""
    return Trial(
        what=what,
        fault=fault,
        evidence=f"(exit code {outcome.code}) {shortened(outcome.output)}" if fault else "",
        count=count,
    )


def shortened(text: str) -> str:
    """Return the beginning and the end of a text."""
    return text if len(text) <= 2 * WORDS else f"{text[:WORDS]} ... {text[-WORDS:]}"
