"""Measure what it costs to run a reward function in a process of its own: the Shakespeare rubric, here and in a worker.

    python benchmarks/reward_worker.py --write

Batches of 64 replies, as in a rollout of folio ppo; both take turns. The rubric reads the plays before, in the first call.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro

from folio.data.known import speeches_and_replies
from folio.rl.functions import LocalFunction, Row, load_function
from folio.runs.recipes import find_recipe_file
from folio.runs.worker import Worker
from support.measurements import add_measurement


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    batches: int = 50
    batch_size: int = 64
    write: bool = False
    """Add the figures to reward_worker.json, from which `make docs` fills in benchmarks/README.md."""


def main(arguments: Arguments) -> None:
    """Print milliseconds per batch, and per start of a worker."""
    talks = speeches_and_replies().train
    replies = [Row(talk[0]["content"], talk[1]["content"], {}) for talk in talks]
    spec = find_recipe_file("plays/rubric.py:score")
    start = time.perf_counter()
    worker = Worker(spec, seconds=60.0)
    started = time.perf_counter() - start
    functions: dict[str, Callable[[Iterable[Row]], Iterator[float]]] = {
        "in this process": LocalFunction(load_function(spec)),
        "in a worker": worker,
    }
    times: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(arguments.batches + 1):
        batch = [
            replies[(number * arguments.batch_size + i) % len(replies)] for i in range(arguments.batch_size)
        ]
        rewards = []
        for name, function in functions.items():
            start = time.perf_counter()
            rewards.append(list(function(batch)))
            times[name].append(1000 * (time.perf_counter() - start))
        assert rewards[0] == rewards[1]
    print(f"start of the worker, with its imports: {1000 * started:.0f} ms")
    rows = [{"what": "start of the worker, once", "ms": round(1000 * started)}]
    for name, found in times.items():
        median = statistics.median(found[1:])
        print(f"{name}: {median:.2f} ms for {arguments.batch_size} replies")
        rows.append({"what": f"{arguments.batch_size} replies {name}", "ms": round(median, 2)})
    if arguments.write:
        add_measurement(Path(__file__), rows)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
