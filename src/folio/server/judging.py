"""A person's judgements of pairs of answers: kept as they were given, and as the preferences that `folio reward` reads."""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from folio.config import from_table
from folio.errors import UserError
from folio.files import append_line, read_lines, write_file

FOLDER = "preferences"
"""Where they lie, in the folder of the runs."""
SUFFIX = ".judgements"
"""Of the file with all that was judged. Not .jsonl: who trains on the whole folder is to read the pairs only."""
REPEAT_EVERY = 10
"""One pair in so many has been judged before."""
REPEAT_AFTER = 5
"""A pair comes again after so many others at the earliest: what one still remembers says nothing."""
GOALS = (
    (
        240,
        "with so many, a held-out tenth can tell a reward model that is right 7 times in 10 from a coin toss",
    ),
    (
        890,
        "so many taught folio's reward model to be right about 84 of 100 unseen pairs that differ in politeness "
        "(benchmarks/README.md)",
    ),
    (1450, "as many as the recipe plays has, whose reward model is right about 90 of 100 unseen pairs"),
)
"""Numbers of pairs to aim for, and what each is good for. The first: 24 pairs held out have a standard error of 10 points."""

Judgement = Literal["left", "right", "tie", "bad", "skip"]
"""Which answer is better, that they are level, that both are bad; or nothing."""
JUDGEMENTS: Sequence[str] = get_args(Judgement)
OPPOSITE = {"left": "right", "right": "left"}
Z = 1.96
"""Standard errors of an interval that covers 95 %."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of a model. is_complete: whether the model ended it."""

    text: str
    model: str
    seed: int
    temperature: float
    is_complete: bool


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A pair that was judged. repeats: the number of the judgement of the same pair before, if this is its second."""

    number: int
    time: float
    prompt: str
    left: Answer
    right: Answer
    judgement: Judgement
    repeats: int | None = None

    @property
    def better(self) -> Answer | None:
        """The answer that is better, None where neither is."""
        return {"left": self.left, "right": self.right}.get(self.judgement)

    @property
    def worse(self) -> Answer | None:
        """The other one."""
        return {"left": self.right, "right": self.left}.get(self.judgement)

    @property
    def swapped(self) -> Judged:
        """The same with the sides exchanged."""
        judgement: Any = OPPOSITE.get(self.judgement, self.judgement)
        return Judged(**{**vars(self), "left": self.right, "right": self.left, "judgement": judgement})


class Judgements:
    """The judgements of a model's answers.

    In NAME.judgements each is a line, and so is each that was taken back; NAME.jsonl has the preferences.
    """

    def __init__(self, runs: Path, model: str) -> None:
        folder = runs / FOLDER
        name = file_name(model)
        self.file = folder / f"{name}{SUFFIX}"
        self.pairs_file = folder / f"{name}.jsonl"

    def all(self) -> list[Judged]:
        """Return what was judged and not taken back, in order."""
        lines = read_lines(self.file, is_line)
        undone = {line["undo"] for line in lines if "undo" in line}
        return [judged_of(line) for line in lines if "number" in line and line["number"] not in undone]

    def add(
        self, prompt: str, left: Answer, right: Answer, judgement: Judgement, repeats: int | None = None
    ) -> Judged:
        """Keep a judgement. Raises UserError where it repeats none of this pair."""
        known = {each.number: each for each in self.all()}
        if repeats is not None:
            before = known.get(repeats)
            same = before and before.prompt == prompt and (left, right) in sides(before)
            if not same:
                raise UserError(f"judgement {repeats} was of another pair.")
        number = 1 + max((line.get("number", 0) for line in read_lines(self.file, is_line)), default=0)
        judged = Judged(
            number=number,
            time=time.time(),
            prompt=prompt,
            left=left,
            right=right,
            judgement=judgement,
            repeats=repeats,
        )
        self._append(asdict(judged))
        return judged

    def undo(self) -> Judged:
        """Take back the last judgement and return it. Raises UserError where there is none."""
        judged = self.all()
        if not judged:
            raise UserError("there is nothing to take back.")
        self._append({"undo": judged[-1].number})
        return judged[-1]

    def pairs(self) -> list[dict[str, str]]:
        """Return the preferences: complete, different answers of which one is better, where a second look did not say otherwise."""
        judged = self.all()
        disputed = {each.repeats for each in judged if each.repeats is not None and not agrees(each, judged)}
        return [
            {"prompt": each.prompt, "chosen": each.better.text, "rejected": each.worse.text}
            for each in judged
            if each.better and each.worse and each.repeats is None and each.number not in disputed
            if is_usable(each)
        ]

    def to_repeat(self) -> Judged | None:
        """Return the pair that should be judged once more now, with its sides perhaps exchanged, or None for a new one."""
        judged = self.all()
        last = max((n for n, each in enumerate(judged, 1) if each.repeats is not None), default=0)
        new = [each for each in judged[last:] if each.judgement != "skip"]
        again = {each.repeats for each in judged}
        candidates = [
            each
            for each in judged[: max(0, len(judged) - REPEAT_AFTER)]
            if each.repeats is None and each.judgement != "skip" and each.number not in again
        ]
        if len(new) < REPEAT_EVERY - 1 or not candidates:
            return None
        chance = int.from_bytes(
            hashlib.sha256(f"{self.file.name} {len(judged)}".encode()).digest()[:8], "big"
        )
        chosen = candidates[chance % len(candidates)]
        return chosen.swapped if (chance >> 32) % 2 else chosen

    def statistics(self) -> dict[str, Any]:
        """Return how many there are of each kind, how often the judge agreed with itself, and how many more are useful."""
        judged = self.all()
        new = [each for each in judged if each.repeats is None]
        again = [each for each in judged if each.repeats is not None and each.judgement != "skip"]
        n_agreed = sum(agrees(each, judged) for each in again)
        n_pairs = len(self.pairs())
        goal = next(((goal, why) for goal, why in GOALS if n_pairs < goal), None)
        return {
            "counts": {kind: sum(each.judgement == kind for each in new) for kind in JUDGEMENTS},
            "pairs": n_pairs,
            "repeated": len(again),
            "agreed": n_agreed,
            "goal": None if goal is None else {"pairs": goal[0], "why": goal[1]},
            "file": self.pairs_file.name,
        }

    def wins(self, before: str, after: str) -> dict[str, Any]:
        """Return how often answers of the model `after` were preferred to those of `before`, with a 95 % interval.

        A tie, or both bad, counts half.
        """
        compared = [
            each
            for each in self.all()
            if each.repeats is None
            and each.judgement != "skip"
            and {each.left.model, each.right.model} == {before, after}
        ]
        points = [0.5 if each.better is None else float(each.better.model == after) for each in compared]
        low, high = interval(sum(points), len(points))
        return {
            "before": before,
            "after": after,
            "n": len(points),
            "share": sum(points) / len(points) if points else None,
            "low": low,
            "high": high,
        }

    def _append(self, line: dict[str, Any]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        append_line(self.file, line)
        rows = (json.dumps(pair, ensure_ascii=False) + "\n" for pair in self.pairs())
        write_file(self.pairs_file, "".join(rows).encode())


def file_name(model: str) -> str:
    """Return the name of the files for a model: its id where that can be one, else one like it."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.")
    is_same = bool(plain) and plain == model
    return plain if is_same else f"{plain[:60] or 'model'}-{hashlib.sha256(model.encode()).hexdigest()[:6]}"


def is_line(line: Any) -> bool:
    """Return whether an object is a line of a file of judgements."""
    if isinstance(line.get("undo"), int):
        return True
    try:
        judged_of(line)
    except (UserError, TypeError, KeyError):
        return False
    return True


def judged_of(line: dict[str, Any]) -> Judged:
    """Return the judgement of a line. Raises UserError, TypeError or KeyError for another one."""
    answer = partial(from_table, Answer, where="answer")
    if line["judgement"] not in JUDGEMENTS or not isinstance(line["number"], int):
        raise UserError("no judgement")
    return Judged(**{**line, "left": answer(table=line["left"]), "right": answer(table=line["right"])})


def sides(judged: Judged) -> tuple[tuple[Answer, Answer], tuple[Answer, Answer]]:
    """Return both orders of a pair's answers."""
    return (judged.left, judged.right), (judged.right, judged.left)


def agrees(second: Judged, judged: Sequence[Judged]) -> bool:
    """Return whether a second judgement of a pair is the same as the first."""
    first = next((each for each in judged if each.number == second.repeats), None)
    if first is None or second.judgement == "skip":
        return True
    if first.left == first.right:
        return True
    same = second if second.left == first.left else second.swapped
    return same.judgement == first.judgement


def is_usable(judged: Judged) -> bool:
    """Return whether a reward model can learn from a pair: what is cut off is worse for a reason that is not its content."""
    left, right = judged.left, judged.right
    return (
        left.is_complete and right.is_complete and left.text != right.text and bool(left.text and right.text)
    )


def interval(wins: float, n: int) -> tuple[float, float]:
    """Return a 95 % interval of a share (Wilson, 1927): (0, 1) where there is nothing yet."""
    if not n:
        return 0.0, 1.0
    share, spread = wins / n, Z * Z / n
    center = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return center - half, center + half
