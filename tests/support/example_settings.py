"""A dataclass of settings with a part, for tests of reading them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from folio.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Part:
    steps: int | None = None
    rate: float = 0.5
    kind: Literal["round", "square"] = "round"


@dataclass(frozen=True, kw_only=True)
class Whole:
    name: str = "anyone"
    place: Path | None = None
    fast: bool = False
    count: int = 1
    tags: tuple[str, ...] = ()
    part: Part = field(default_factory=Part)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise UserError(f"count is {self.count}: it must be at least 0.")
