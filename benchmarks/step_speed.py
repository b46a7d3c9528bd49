"""Measure how much of the machine a training step uses: its FLOP/s as a share of plain matrix products'.

    python benchmarks/step_speed.py

The step is that of the recipe plays: forward, backward, clipping and optimizers. Products and steps alternate,
so that a busy moment of the machine affects both; each figure is the median of the rounds.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import tyro

import folio
from folio.runtime import DTYPES, RuntimeConfig, describe, matmul_speed, start_runtime
from support.measurements import add_measurement


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    rounds: int = 7
    steps_per_round: int = 5
    warmup: int = 3
    write: bool = False
    """Add the figures to step_speed.json, from which `make docs` fills in benchmarks/README.md."""


def main() -> None:
    """Measure and print."""
    arguments = tyro.cli(Arguments, description=__doc__)
    runtime = start_runtime(RuntimeConfig())
    text = folio.load_corpus("shakespeare").text
    tokenizer = folio.CharTokenizer.train(text)
    torch.manual_seed(1)
    model = folio.GPT(folio.GPTConfig(vocab_size=tokenizer.vocab_size))  # its defaults are the recipe's sizes
    runtime.place(model)
    if runtime.compiles:
        for block in model.blocks:
            block.compile()
    windows = folio.RandomWindows(
        torch.from_numpy(tokenizer.encode(text)), block_size=256, batch_size=8, seed=1
    )
    steps = folio.train(
        model,
        windows,
        folio.next_token_loss,
        steps=arguments.warmup + arguments.rounds * arguments.steps_per_round,
        optimizers=folio.build_optimizers(model, folio.OptimizerConfig()),
    )
    for _ in range(arguments.warmup):
        next(steps)
    products: dict[str, list[float]] = {name: [] for name in DTYPES}
    tokens: list[float] = []
    for _ in range(arguments.rounds):
        for name, dtype in DTYPES.items():
            products[name].append(matmul_speed(runtime.device, dtype))
        tokens.extend(report.n_tokens / report.seconds for report in islice(steps, arguments.steps_per_round))
    tokens_per_second = statistics.median(tokens)
    flops = tokens_per_second * model.flops_per_token(256)
    print(f"{describe(runtime.device)}; torch {torch.__version__}; {runtime}")
    print(f"{model.n_parameters:,} weights, {8 * 256:,} tokens a step")
    print(f"training step   {tokens_per_second:10,.0f} tokens/s   {flops / 1e9:8,.0f} GFLOP/s")
    rows: list[dict[str, Any]] = [
        {"what": "training step", "tokens_per_second": round(tokens_per_second), "gflops": round(flops / 1e9)}
    ]
    for name, speeds in products.items():
        speed = statistics.median(speeds)
        print(f"{name:<16}{'':19}   {speed / 1e9:8,.0f} GFLOP/s   step at {flops / speed:.0%} of it")
        rows.append(
            {
                "what": f"plain product, {name}",
                "gflops": round(speed / 1e9),
                "step_share": round(flops / speed, 3),
            }
        )
    if arguments.write:
        add_measurement(Path(__file__), rows)


if __name__ == "__main__":
    main()
