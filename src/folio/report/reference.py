"""Is my curve normal? A run's validation losses beside those of measured runs of the same recipe."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from folio.errors import UserError

MARGIN = 0.02
"""Nats around the measured curves that still count as normal: another machine rounds differently."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Validation losses of a recipe's measured runs.

    text_sha256, plan: what they were runs of, as in run.json.
    shares:  how far into the run each evaluation was, from 0 to 1.
    losses:  for each share the loss of every seed.
    landmarks: final losses that others published, by name.
    """

    hardware: str
    text_sha256: str
    plan: dict[str, Any]
    shares: list[float]
    losses: list[list[float]]
    landmarks: dict[str, float]

    def __post_init__(self) -> None:
        if len(self.shares) != len(self.losses) or not all(self.losses):
            raise ValueError("every share needs its losses")

    @classmethod
    def beside(cls, recipe: Path) -> Reference | None:
        """`pretrain.reference.json` beside `pretrain.toml`, if there is one. Raises UserError if it is broken."""
        path = recipe.with_suffix(".reference.json")
        if not path.exists():
            return None
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{path} is not a reference ({error}).") from None

    def mismatch(self, info: dict[str, Any]) -> str | None:
        """Why a run, given as its run.json, cannot be compared with these, or None if it can."""
        if info["data_sha256"] != self.text_sha256:
            return "another text"
        if info["plan"] != self.plan:
            return "other sizes, or another number of steps"
        return None

    def band(self, share: float) -> tuple[float, float] | None:
        """Lowest and highest normal loss at the evaluation made at `share`, or None if none was made there."""
        for known, losses in zip(self.shares, self.losses, strict=True):
            if abs(known - share) < 0.01:
                return min(losses) - MARGIN, max(losses) + MARGIN
        return None

    def verdict(self, curve: list[tuple[float, float]]) -> str:
        """One sentence on a curve of (share of the run, validation loss)."""
        seen = [(share, loss, band) for share, loss in curve if (band := self.band(share))]
        if not seen:
            return "No evaluation of this run can be compared with the recipe's measured runs."
        above = [share for share, loss, (_, high) in seen if loss > high]
        below = [share for share, loss, (low, _) in seen if loss < low]
        *_, (_, final, (low, high)) = seen
        place = f"{final:.4f} at the end, where {low + MARGIN:.4f} to {high - MARGIN:.4f} was measured"
        if final > high:
            return f"Your curve is not normal: {place}. It left the band at {min(above):.0%} of the run."
        if final < low:
            return f"Your curve is better than the measured ones: {place}."
        if above or below:
            return f"Your curve ends normally ({place}), after leaving the band at {min(above + below):.0%}."
        return f"Your curve is normal: {place}."
