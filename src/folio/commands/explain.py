"""Look inside a trained model: tokens, next-token probabilities, attention, and loss per character."""

from __future__ import annotations

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
from folio.report.reading_terminal import show_readings
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


def main(arguments: Sequence[str]) -> None:
    """Run `folio explain RUN [OTHER] --text TEXT [flags]`."""
    config = read_config(ExplainConfig, arguments, recipe=None, prog="folio explain", description=__doc__)
    device = choose_device(config.device)
    readings = [
        read_text(path, config.text, chat=config.chat, layer=config.layer, head=config.head, device=device)
        for path in (config.run, config.other)
        if path is not None
    ]
    console = make_console()
    show_readings(readings, config.top, console)
    if config.png is not None:
        draw_readings(readings, config.top, config.png)
        console.print(f"figure  {config.png}", soft_wrap=True)
