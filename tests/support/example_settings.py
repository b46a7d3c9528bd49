"""A dataclass of settings with a part, for tests of reading them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le

from folio.config import Fraction, Settings, Source


@dataclass(frozen=True, kw_only=True)
class Part(Settings):
    steps: int | None = None
    rate: float = 0.5
    kind: Literal["round", "square"] = "round"


@dataclass(frozen=True, kw_only=True)
class Whole(Settings):
    name: str = "anyone"
    place: Path | None = None
    fast: bool = False
    count: Annotated[int, Ge(0), Le(10**6)] = 1
    tags: tuple[str, ...] = ()
    pair: tuple[Fraction, Fraction] = (0.0, 1.0)
    data: Source = "known"
    part: Part = field(default_factory=Part)
