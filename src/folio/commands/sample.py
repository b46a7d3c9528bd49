"""Continue a prompt with a model, and print the text as it is written."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from folio.config import Count, Many, Seed, Settings
from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.inference.sampling import SamplingConfig
from folio.inference.text import stream_text
from folio.log import notify
from folio.runs.flags import read_config
from folio.runs.load import load_for_inference
from folio.runtime import choose_device


@dataclass(frozen=True, kw_only=True)
class SampleConfig(Settings):
    """What to generate, and how."""

    run: tyro.conf.Positional[Path]
    """A run directory (its best model is used), a checkpoint in it, or any model directory."""
    prompt: str = ""
    """The text to continue; without one the model starts on its own."""
    tokens: Count = 500
    """Maximum tokens in each answer."""
    num: Many = 1
    """How many answers to the prompt."""
    stop: tuple[str, ...] = ()
    """An answer ends before any of these strings."""
    seed: Seed = 1
    """The same seed gives the same text."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    """Where to compute. A single short text is fastest on the cpu."""
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(temperature=0.8))


def main(arguments: Sequence[str]) -> None:
    """Run `folio sample RUN [flags]`."""
    config = read_config(SampleConfig, arguments, recipe=None, prog="folio sample", description=__doc__)
    model, tokenizer = load_for_inference(config.run)
    model.to(choose_device(config.device))
    prompt, dropped = tokenizer.drop_unknown(config.prompt)
    if dropped:
        notify(f"the model has never seen {', '.join(map(repr, dropped))}; left out of the prompt.")
    steps = stream_text(
        Engine(model),
        tokenizer,
        [tokenizer.prompt(prompt)] * config.num,
        GenerationConfig(
            max_new_tokens=config.tokens,
            sampling=config.sampling,
            seed=config.seed,
            stop_ids=tuple(tokenizer.end_ids),
        ),
        config.stop,
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
    """Return a line above each of several answers; "" for a single one, so that it can be piped."""
    return f"--- {number} of {total} ---\n" if total > 1 else ""


def write(text: str) -> None:
    """Print text at once, also within a line."""
    sys.stdout.write(text)
    sys.stdout.flush()
