"""Every flag of every command that takes a number, with numbers that it cannot take: refused in a line, before anything is done."""

from __future__ import annotations

import re
from collections.abc import Iterator

from processes import run
from trial import Fault, Trial, crash, trial

from commands import STAGES, Workshop

COMMANDS = {
    **{stage: (stage, *flags, "--run", "never") for stage, flags in STAGES.items()},
    "sample": ("sample", "base"),
    "chat": ("chat", "base"),
    "explain": ("explain", "base", "--text", "the cat"),
    "label": ("label", "base", "--data", "prompts.jsonl", "--judge", "share.py:f"),
    "compare": ("compare", "base", "base"),
    "ladder": ("ladder", "--data", "words.txt"),
    "data": ("data", "show", "talk.jsonl", "--run", "base"),
    "run": ("run", "shakespeare"),
    "rl-report": ("rl-report", "base"),
    "runs": ("runs", "base"),
    "doctor": ("doctor",),
}
"""Complete commands, to which one flag is added."""
BAD = {"INT": ("-1", "1" + "0" * 23, "nan", "1.5"), "FLOAT": ("-1", "nan", "inf", "1e308")}
"""Values by what `--help` says that a flag takes."""
FLAG = re.compile(r"(--[a-z0-9-]+) (?:\{None\}\|)?(INT|FLOAT)\b")
LINES = 3
"""Of a refusal, at most."""


def flags(shop: Workshop, quick: bool) -> Iterator[Trial]:
    """Give each flag each bad value."""
    for name, command in COMMANDS.items():
        page = run((*command[: 2 if name == "data" else 1], "--help"), shop.folder).output
        combinations = [
            (flag, value) for flag, kind in sorted(set(FLAG.findall(page))) for value in BAD[kind]
        ]
        for flag, value in combinations[:: 11 if quick else 1]:
            given = command
            if flag in command:  # or it would be given twice
                at = command.index(flag)
                given = (*command[:at], *command[at + 2 :])
            outcome = run((*given, f"{flag}={value}"), shop.folder, limit=40)
            yield trial(
                f"folio {name} {flag}={value}",
                crash(outcome) or refusal(outcome.code, outcome.output),
                outcome,
            )


def refusal(code: int, output: str) -> Fault | None:
    """Return the fault of an answer to a bad value."""
    if code != 2:
        return "silent"
    return None if len(output.strip().splitlines()) <= LINES else "wrong"
