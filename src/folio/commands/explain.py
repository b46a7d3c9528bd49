"""Look inside a trained model: tokens, next-token probabilities, attention, and loss per character.

With --heads, --without, --lens or --neighbors it shows what those ask for in place of these.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import annotated_types as bounds
import tyro

from folio.config import Settings, Whole
from folio.errors import UserError
from folio.log import make_console
from folio.report.figure import check_picture_path
from folio.report.reading import read_text
from folio.report.reading_figure import draw_readings
from folio.report.reading_inside import heads, lens, neighbors, without
from folio.report.reading_terminal import Part, show_readings
from folio.runs.assistants import Chat
from folio.runs.flags import read_config
from folio.runtime import choose_device

MAX_BARS = 100


@dataclass(frozen=True, kw_only=True)
class ExplainConfig(Settings):
    """Settings of `folio explain`."""

    run: tyro.conf.Positional[Path]
    """A run (its best model is used), a checkpoint in it, or any model directory."""
    other: tyro.conf.Positional[Path | None] = None
    """Another model to show beside it."""
    text: str = ""
    """Text for the model to read, best a line or two. For an assistant, a question."""
    chat: Chat = "auto"
    """Whether the text is a question, to be put into the chat template: auto where the model is of a run of sft, dpo, ppo
    or grpo."""
    layer: Whole | None = None
    """Layer whose attention is shown, counted from 0; by default the last."""
    head: Whole = 0
    """Head in that layer, counted from 0."""
    top: Annotated[int, bounds.Ge(1), bounds.Le(MAX_BARS)] = 10
    """Number of most likely next characters to show."""
    heads: bool = False
    """Show where each head of each layer looks, a line each: at the token before, the first, itself, the same again."""
    without: tuple[str, ...] = ()
    """Heads to switch off, as in 1.0 for head 0 of layer 1: shows the loss with and without them."""
    lens: bool = False
    """Show what the model would predict if it stopped after each layer (the logit lens)."""
    neighbors: bool = False
    """Show the nearest tokens of each token in the embedding."""
    png: Path | None = None
    """Also draw a figure to this .png file."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    """Device; for one short text the CPU is fastest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.text:
            raise UserError('--text is required, as in --text "ROMEO:".')
        if self.png is not None:
            check_picture_path(self.png)
        for text in self.without:  # a mistake in it is told before a model is loaded
            read_head(text)

    @property
    def heads_off(self) -> list[tuple[int, int]]:
        """Layer and head of each that is switched off. Raises UserError for what is not written as one."""
        return [read_head(text) for text in self.without]

    @property
    def parts(self) -> list[Part] | None:
        """The views that were asked for, None for the usual ones."""
        views = {heads: self.heads, without: self.without, lens: self.lens, neighbors: self.neighbors}
        return [view for view, is_wanted in views.items() if is_wanted] or None


def read_head(text: str) -> tuple[int, int]:
    """Return layer and head of LAYER.HEAD. Raises UserError for another text."""
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", text, re.ASCII)
    if not found:
        raise UserError(f"--without is {text[:40]!r}: it takes LAYER.HEAD, as in 1.0 for head 0 of layer 1.")
    return int(found[1]), int(found[2])


def main(arguments: Sequence[str]) -> None:
    """Run `folio explain RUN [OTHER] --text TEXT [flags]`."""
    config = read_config(ExplainConfig, arguments, recipe=None, prog="folio explain", description=__doc__)
    device = choose_device(config.device)
    readings = [
        read_text(
            path,
            config.text,
            chat=config.chat,
            layer=config.layer,
            head=config.head,
            without=config.heads_off,
            device=device,
        )
        for path in (config.run, config.other)
        if path is not None
    ]
    console = make_console()
    show_readings(readings, config.top, console, config.parts)
    if config.png is not None:
        draw_readings(readings, config.top, config.png)
        console.print(f"figure  {config.png}", soft_wrap=True)
