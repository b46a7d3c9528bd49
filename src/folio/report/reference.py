"""Compare a run's validation losses with those of measured runs of the same recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from folio.config import PACKAGED_RECIPES
from folio.errors import parsing
from folio.files import read_json

MARGIN = 0.02
"""Nats around the measured curves that still count as normal, since other machines round differently."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Validation losses of a recipe's measured runs.

    text_sha256, plan: the text and the sizes of those runs, as in run.json.
    shares: the share of the run, from 0 to 1, at which each evaluation was made.
    losses: for each share the loss of every seed.
    landmarks: published final losses of others, by name.
    """

    hardware: str
    text_sha256: str
    plan: dict[str, Any]
    shares: list[float]
    losses: list[list[float]]
    landmarks: dict[str, float]

    def __post_init__(self) -> None:
        if len(self.shares) != len(self.losses) or not all(self.losses):
            raise ValueError("every share needs losses")

    @classmethod
    def beside(cls, recipe: Path) -> Reference | None:
        """Load `pretrain.reference.json` beside `pretrain.toml`; None if there is none.

        Raises UserError if it is invalid.
        """
        path = recipe.with_suffix(".reference.json")
        if not path.exists():
            return None
        with parsing(path, "It is not a reference."):
            return cls(**read_json(path, "It is not a reference."))

    def mismatch(self, info: Mapping[str, Any]) -> str | None:
        """Return why a run, given as its run.json, is not comparable, or None if it is."""
        if info["data_sha256"] != self.text_sha256:
            return "another text"
        if info["plan"] != self.plan:
            return "other sizes, or another number of steps"
        return None

    def band(self, share: float) -> tuple[float, float] | None:
        """Return the lowest and highest normal loss at `share`, or None if no evaluation was made there."""
        for known, losses in zip(self.shares, self.losses, strict=True):
            if abs(known - share) < 0.01:
                return min(losses) - MARGIN, max(losses) + MARGIN
        return None

    def verdict(self, curve: list[tuple[float, float]]) -> str:
        """Judge a curve of (share of the run, validation loss) in one sentence."""
        compared = [(share, loss, band) for share, loss in curve if (band := self.band(share))]
        if not compared:
            return "No evaluation of this run can be compared with the recipe's measured runs."
        above = [share for share, loss, (_, high) in compared if loss > high]
        below = [share for share, loss, (low, _) in compared if loss < low]
        *_, (last, final, (low, high)) = compared
        is_over = last > 0.99
        at = "at the end" if is_over else f"at {last:.0%} of the run"
        place = f"{final:.4f} {at}, where {low + MARGIN:.4f} to {high - MARGIN:.4f} was measured"
        if final > high:
            return f"Your curve is not normal: {place}. It left the band at {min(above):.0%} of the run."
        if final < low:
            return f"Your curve is better than the measured ones: {place}."
        if above or below:
            now = "ends normally" if is_over else "is normal again"
            return f"Your curve {now} ({place}), after leaving the band at {min(above + below):.0%}."
        return f"Your curve is normal: {place}."


def reference_of(info: Mapping[str, Any]) -> Reference | None:
    """Return the reference curves of the recipe of a run, given as its run.json, or None if it has none.

    A recipe that is gone, as after folio was installed anew, is the packaged one of its name.
    """
    if not info.get("recipe"):
        return None
    recipe = Path(info["recipe"])
    found = Reference.beside(recipe)
    if found is None and not recipe.exists():
        return Reference.beside(PACKAGED_RECIPES / recipe.parent.name / recipe.name)
    return found


def verdict_of(info: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str | None:
    """Compare a run, finished or not, with its recipe's measured runs in one sentence; None if the recipe has none.

    info: its run.json. records: lines of metrics.jsonl, of which those with a validation loss count.
    """
    reference = reference_of(info)
    if reference is None:
        return None
    if mismatch := reference.mismatch(info):
        return f"none: the recipe's measured runs had {mismatch}"
    evaluated = [record for record in records if "val_loss" in record]
    return reference.verdict([(each["step"] / info["plan"]["steps"], each["val_loss"]) for each in evaluated])
