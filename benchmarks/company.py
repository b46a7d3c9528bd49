"""Count the answers that depend on their company: on how busy the batch is and on whether a prompt was read before.

Each request is answered twice: with the batch to itself and nothing kept, and among others that come, begin alike, leave
and give up at random, with mixed settings of sampling. The second answer should be the first to the last bit. The same is counted
for the decoder that PyTorch has, for what it does to round alike, by leaving it out, and for passes over a single text, as
`folio.generate` makes. Milliseconds are those that a step needs of all cores together, median.

    python benchmarks/company.py MODEL --write
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from folio.inference import reading
from folio.inference.batching import Batch, Event, Request, Row
from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.inference.sampling import SamplingConfig
from folio.model import cache
from folio.model.gpt import GPT, Decoder
from folio.runs.load import load
from folio.runtime import choose_device, describe
from support.measurements import add_measurement

ROWS, PREFILL_TOKENS, CACHE_TOKENS = 32, 64, 8192
SAMPLING = (
    SamplingConfig(),
    SamplingConfig(temperature=0.8),
    SamplingConfig(temperature=0.8, top_k=40),
    SamplingConfig(top_p=0.9),
    SamplingConfig(min_p=0.05, repetition_penalty=1.1),
    SamplingConfig(temperature=0.0),
)
Constants = dict[Any, dict[str, int]]
"""Of modules, by name."""
WAYS: dict[str, tuple[Decoder, Constants]] = {
    "compiled": ("compiled", {}),
    "PyTorch": ("torch", {}),
    "PyTorch, passes not filled up": ("torch", {reading: {"ALIKE": 1}}),
    "PyTorch, attention over no more columns than needed": ("torch", {cache: {"SPAN": 1}}),
}


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    model: tyro.conf.Positional[Path]
    """A run or a model directory."""
    answers: int = 10_000
    """Of the compiled decoder; of each other way a fiftieth."""
    steps: int = 100
    """Of each batch size that is timed."""
    seed: int = 1
    write: bool = False
    """Add the figures to company.json."""


class Requests:
    """Random requests. Half of them begin as one of a few texts do, which the model has written."""

    def __init__(self, model: GPT, seed: int) -> None:
        self.random = random.Random(seed)
        config = GenerationConfig(max_new_tokens=model.config.block_size, seed=seed)
        self.texts = [answer.ids for answer in Engine(model).generate([[0]] * 40, config)]
        self.block_size = model.config.block_size

    def __call__(self, number: int) -> Request:
        draw = self.random
        longest = self.block_size // 4
        ids = draw.choice(self.texts[:8])[: draw.randint(1, longest)] if draw.random() < 0.5 else []
        other, first = draw.choice(self.texts), draw.randrange(longest)
        return Request(
            ids=[*ids, *other[first : first + draw.randint(1, longest)]],
            sampling=draw.choice(SAMPLING),
            max_new_tokens=draw.randint(1, self.block_size // 2),
            seed=number,
            presence_penalty=draw.choice((0.0, 0.0, 0.0, 0.5)),
        )


Answer = list[tuple[Any, ...]]
"""Token, log-probabilities and reason of each event."""


def alone(model: GPT, requests: Sequence[Request], rows: int) -> list[Answer]:
    """Answer requests one after another. rows: places of the batch."""
    batch, answers = Batch(model, max_rows=rows, cache_tokens=0), []
    for request in requests:
        batch.add(request)
        answers.append([event[1:] for event in until_idle(batch)])
    return answers


def among_others(model: GPT, requests: Sequence[Request], others: Requests, seed: int) -> list[Answer]:
    """Answer requests that come at random, beside others of which many are given up."""
    draw = random.Random(seed)
    batch = Batch(model, max_rows=ROWS, prefill_tokens=PREFILL_TOKENS, cache_tokens=CACHE_TOKENS)
    answers: dict[Row, Answer] = {}
    strangers: list[Row] = []
    for request in requests:
        answers[batch.add(request)] = []
        if draw.random() < 0.3:
            strangers.append(batch.add(others(-1)))
        busy = draw.choice((1, 8, 40))
        while batch.n_running + batch.n_waiting > busy:
            note(batch.step(), answers)
            if strangers and draw.random() < 0.05:
                batch.cancel(strangers.pop(draw.randrange(len(strangers))))
    note(list(until_idle(batch)), answers)
    return list(answers.values())


def note(events: Sequence[Event], answers: dict[Row, Answer]) -> None:
    for event in events:
        if event.row in answers:
            answers[event.row].append(event[1:])


def until_idle(batch: Batch) -> Iterator[Event]:
    while not batch.idle:
        yield from batch.step()


@contextmanager
def constants(values: Constants) -> Iterator[None]:
    """Set constants of modules within the block."""
    before = {module: {name: getattr(module, name) for name in names} for module, names in values.items()}
    try:
        for module, names in values.items():
            for name, value in names.items():
                setattr(module, name, value)
        yield
    finally:
        for module, names in before.items():
            for name, value in names.items():
                setattr(module, name, value)


def cpu_ms_per_step(model: GPT, rows: int, places: int, steps: int) -> float:
    """Return the median milliseconds of a step that writes a token of each row, of all threads together."""
    batch = Batch(model, max_rows=places, cache_tokens=0)
    for choice in range(rows):
        batch.add(Request(ids=[0] * 20, max_new_tokens=steps + 10, choice=choice))
    seconds = []
    for _ in range(steps):
        start = time.process_time()
        batch.step()
        seconds.append(time.process_time() - start)
    return round(1e3 * statistics.median(seconds), 2)


def compare(way: str, first: Sequence[Answer], second: Sequence[Answer]) -> dict[str, Any]:
    """Return how many answers differ in a token, and how many in no more than the last bits of a log-probability."""
    pairs = list(zip(first, second, strict=True))
    tokens = sum([each[0] for each in one] != [each[0] for each in other] for one, other in pairs)
    return {
        "way": way,
        "answers": len(pairs),
        "tokens": sum(map(len, first)),
        "other_tokens": tokens,
        "other_logprobs_only": sum(one != other for one, other in pairs) - tokens,
    }


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    model, _ = load(str(arguments.model))
    model.eval()
    print(f"{describe(choose_device('cpu'))}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    make = Requests(model, arguments.seed)
    requests = [make(number) for number in range(arguments.answers)]
    some = requests[: max(1, arguments.answers // 50)]
    rows: list[dict[str, Any]] = []
    for way, (model.decoder, values) in WAYS.items():
        asked = some if rows else requests
        with constants(values):
            answers = alone(model, asked, ROWS)
            row = compare(way, answers, among_others(model, asked, make, arguments.seed))
            times = {
                f"cpu_ms_per_step_{n}": cpu_ms_per_step(model, n, ROWS, arguments.steps) for n in (1, 8, 32)
            }
            rows.append(row | times)
            print(rows[-1], flush=True)
            if not values:
                row = compare(f"{way}, a single text", answers[: len(some)], alone(model, some, 1))
                rows.append(row | {"cpu_ms_per_step_1": cpu_ms_per_step(model, 1, 1, arguments.steps)})
                print(rows[-1], flush=True)
    if arguments.write:
        add_measurement(Path(__file__), rows)


if __name__ == "__main__":
    main()
