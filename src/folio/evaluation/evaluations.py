"""Several evaluations of a model as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Evaluations:
    """Evaluations whose metrics have different names."""

    parts: Sequence[Callable[[Any], Mapping[str, float]]]

    def __call__(self, model: Any) -> dict[str, float]:
        """Return the metrics of all parts."""
        return {name: value for part in self.parts for name, value in part(model).items()}
