"""Compare a run's validation losses with those of measured runs of the same recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def mismatch(self, info: dict[str, Any]) -> str | None:
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
        *_, (_, final, (low, high)) = compared
        place = f"{final:.4f} at the end, where {low + MARGIN:.4f} to {high - MARGIN:.4f} was measured"
        if final > high:
            return f"Your curve is not normal: {place}. It left the band at {min(above):.0%} of the run."
        if final < low:
            return f"Your curve is better than the measured ones: {place}."
        if above or below:
            return f"Your curve ends normally ({place}), after leaving the band at {min(above + below):.0%}."
        return f"Your curve is normal: {place}."
