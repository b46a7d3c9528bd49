"""Look inside a trained model: what it reads, what it expects next, where it looks, and what surprises it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from folio.config import read_config
from folio.errors import UserError
from folio.log import make_console
from folio.runtime import choose_device
from folio.stages.explain_picture import draw_readings
from folio.stages.explain_reading import read_text
from folio.stages.explain_terminal import show_readings

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
            check_picture(self.png)


def check_picture(path: Path) -> None:
    """Find out before the work whether a picture can be written there. Raises UserError if not."""
    if path.suffix.lower() != ".png":
        raise UserError(f"--png {path}: the name of the picture must end in .png.")
    if not os.path.isdir(path.parent):
        raise UserError(f"--png {path}: there is no folder {path.parent}; make it first.")
    if os.path.isdir(path):
        raise UserError(f"--png {path} is a folder: choose another name.")


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
