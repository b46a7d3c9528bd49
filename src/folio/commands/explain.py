"""Look inside a trained model: what it reads, what it expects next, where it looks, and what surprises it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from folio.config import read_config
from folio.errors import UserError
from folio.log import make_console
from folio.report.figure import check_picture_path
from folio.report.reading import read_text
from folio.report.reading_figure import draw_readings
from folio.report.reading_terminal import show_readings
from folio.runtime import choose_device

MOST_BARS = 100


@dataclass(frozen=True, kw_only=True)
class ExplainConfig:
    """What to look at."""

    run: tyro.conf.Positional[Path]
    """A run directory (its best model is used), a checkpoint in it, or any model directory."""
    other: tyro.conf.Positional[Path | None] = None
    """Another one, to be shown beside it."""
    text: str = ""
    """What the model reads. It looks best with a line or two."""
    layer: int | None = None
    """The layer whose attention is shown, counted from 0; by default the last."""
    head: int = 0
    """The head in that layer, counted from 0."""
    top: int = 10
    """How many of the likeliest next characters to show."""
    png: Path | None = None
    """Draw all this into a picture as well; the name ends in .png."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    """Where to compute: cpu, cuda or mps. One short text is soonest read on the cpu."""

    def __post_init__(self) -> None:
        if not self.text:
            raise UserError('there is nothing to read: give it a text, as in --text "ROMEO:".')
        if not 1 <= self.top <= MOST_BARS:
            raise UserError(f"top is {self.top}: it must be from 1 to {MOST_BARS}.")
        if self.png is not None:
            check_picture_path(self.png)


def main(arguments: Sequence[str]) -> None:
    """`folio explain RUN [OTHER] --text TEXT [flags]`."""
    config = read_config(ExplainConfig, arguments, recipe=None, prog="folio explain", description=__doc__)
    device = choose_device(config.device)
    readings = [
        read_text(path, config.text, layer=config.layer, head=config.head, device=device)
        for path in (config.run, config.other)
        if path is not None
    ]
    console = make_console()
    show_readings(readings, config.top, console)
    if config.png is not None:
        draw_readings(readings, config.top, config.png)
        console.print(f"picture  {config.png}", soft_wrap=True)
