"""Let a trained model write: the text of a prompt, continued, as it comes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from folio.config import read_config
from folio.errors import UserError
from folio.inference.engine import Engine
from folio.inference.generation import GenerationConfig
from folio.inference.sampling import SamplingConfig
from folio.inference.text import stream_text
from folio.runs.load import load_for_inference
from folio.runtime import choose_device


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """What to write, and how."""

    run: tyro.conf.Positional[Path]
    """A run directory (its best model is used), a checkpoint in it, or any model directory."""
    prompt: str = ""
    """The text to continue; without one the model begins by itself."""
    tokens: int = 500
    """Most tokens to write in each answer."""
    num: int = 1
    """Different answers to the prompt."""
    stop: tuple[str, ...] = ()
    """An answer ends before any of these texts."""
    seed: int = 1
    """The same seed gives the same text."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    """Where to compute: cpu, cuda or mps. One short text is soonest ready on the cpu."""
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(temperature=0.8))

    def __post_init__(self) -> None:
        for name in ("tokens", "num"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 1.")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}: it must be at least 0.")


def main(arguments: Sequence[str]) -> None:
    """`folio sample RUN [flags]`."""
    config = read_config(SampleConfig, arguments, recipe=None, prog="folio sample", description=__doc__)
    model, tokenizer = load_for_inference(config.run)
    model.to(choose_device(config.device))
    prompt, dropped = tokenizer.drop_unknown(config.prompt)
    if dropped:
        print(
            f"folio: the model has never seen {', '.join(map(repr, dropped))}; left out of the prompt.",
            file=sys.stderr,
        )
    steps = stream_text(
        Engine(model),
        tokenizer,
        [tokenizer.prompt(prompt)] * config.num,
        GenerationConfig(
            max_new_tokens=config.tokens,
            sampling=config.sampling,
            seed=config.seed,
            stop_ids=tuple(tokenizer.end_ids),
            stop=config.stop,
        ),
    )
    # The first answer is shown as it is written; the others, written beside it, when it is complete.
    others = [prompt] * (config.num - 1)
    write(heading(1, config.num) + prompt)
    for first, *rest in steps:
        write(first)
        others = [text + piece for text, piece in zip(others, rest, strict=True)]
    write("\n")
    for number, text in enumerate(others, start=2):
        write(f"{heading(number, config.num)}{text}\n")


def heading(number: int, total: int) -> str:
    """A line above each of several answers; nothing above a single one, so that it can be piped on."""
    return f"--- {number} of {total} ---\n" if total > 1 else ""


def write(text: str) -> None:
    """Show text at once, line complete or not."""
    sys.stdout.write(text)
    sys.stdout.flush()
