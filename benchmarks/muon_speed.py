"""Measure the milliseconds of a Muon step on the Shakespeare recipe's matrices: ours in two precisions, and torch.optim.Muon.

    python benchmarks/muon_speed.py

All take five Newton-Schulz iterations here, and take turns. Ours uses four in training.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from folio.model.config import GPTConfig
from folio.model.gpt import GPT
from folio.runtime import choose_device, describe
from folio.training.muon import Muon
from support.measurements import add_measurement


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    rounds: int = 15
    write: bool = False
    """Add the figures to muon_speed.json, from which `make docs` fills in benchmarks/README.md."""


def matrices() -> list[torch.nn.Parameter]:
    """Return the weights that Muon updates, with random gradients."""
    torch.manual_seed(0)
    found = [
        parameter for parameter in GPT(GPTConfig(vocab_size=70)).blocks.parameters() if parameter.ndim == 2
    ]
    for parameter in found:
        parameter.grad = torch.randn_like(parameter)
    return found


def main() -> None:
    """Measure and print."""
    arguments = tyro.cli(Arguments, description=__doc__)
    steps: dict[str, Callable[[], object]] = {
        "folio, float32": Muon(matrices(), lr=0.02, steps=5, dtype=torch.float32).step,
        "folio, bfloat16": Muon(matrices(), lr=0.02, steps=5, dtype=torch.bfloat16).step,
        "torch.optim.Muon": torch.optim.Muon(matrices(), lr=0.02, weight_decay=0.0).step,
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    print(f"{describe(choose_device('cpu'))}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    theirs = statistics.median(seconds["torch.optim.Muon"])
    rows: list[dict[str, Any]] = []
    for name, measured in seconds.items():
        median = statistics.median(measured)
        print(f"{name:<18}{1e3 * median:7.1f} ms   {theirs / median:.2f}x")
        rows.append(
            {"optimizer": name, "ms_per_step": round(1e3 * median, 1), "speedup": round(theirs / median, 2)}
        )
    if arguments.write:
        add_measurement(Path(__file__), rows)


if __name__ == "__main__":
    main()
