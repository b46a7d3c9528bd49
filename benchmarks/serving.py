"""Measure `folio serve` against `transformers serve`: tokens a second, time to the first token, time between tokens.

Each server runs in a process of its own, with the same model, and is asked by the same client in this process: plain
sockets, no second try, so that what is measured is the server, HTTP and JSON included. Every stream asks for the same number of
tokens at the same temperature. The servers take turns within each repeat. Then folio alone: requests of which every third
leaves midway, and what is left of them.

    python benchmarks/serving.py runs/shakespeare          # a base model with a character tokenizer
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
import tyro

from folio.runs.load import find_model
from folio.runtime import choose_device, describe
from support.measurements import add_measurement

PROMPT = "ROMEO:\n"
TEMPERATURE = 0.8
START_SECONDS = 300


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    model: tyro.conf.Positional[Path]
    """A run or a model directory: a base model whose tokens are characters, so that both servers' texts can be counted."""
    streams: tuple[int, ...] = (1, 8, 32)
    """Streams at the same time."""
    tokens: int = 200
    """Tokens of each."""
    repeats: int = 3
    """How often all streams are asked for."""
    servers: tuple[str, ...] = ("folio", "transformers", "transformers --continuous-batching")
    """Whom to ask; the peer needs `pip install transformers[serving]`."""
    requests: int = 1000
    """Requests of which a third leaves; 0 to leave that out."""
    write: bool = False
    """Add the figures to serving.json."""


@dataclass(frozen=True)
class Place:
    """A server that runs: its port, its process, and what it calls the model."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    model: str


@dataclass
class Heard:
    """What a client heard: when it asked, and when which text came."""

    asked: float
    arrivals: list[float] = field(default_factory=list)
    n_characters: int = 0

    @property
    def first(self) -> float:
        """Seconds to the first text."""
        return self.arrivals[0] - self.asked

    @property
    def gaps(self) -> list[float]:
        """Seconds between one arrival of text and the next."""
        return [later - earlier for earlier, later in zip(self.arrivals, self.arrivals[1:], strict=False)]


def command_of(name: str, directory: Path, port: int) -> list[str]:
    words = name.split()
    if words[0] == "folio":
        return [
            sys.executable,
            "-m",
            "folio",
            "serve",
            str(directory),
            "--port",
            str(port),
            "--queue",
            "2000",
        ]
    transformers = str(Path(sys.executable).with_name("transformers"))
    return [transformers, "serve", str(directory), "--port", str(port), "--device", "cpu", *words[1:]]


@contextmanager
def running(name: str, directory: Path) -> Iterator[Place]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command_of(name, directory, port), stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        try:
            wait_for(port, process)
            model = directory.name if name == "folio" else str(directory)
            yield Place(name, port, process, model)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"a server ended with {process.returncode}: {' '.join(map(str, process.args))}")  # type: ignore[arg-type]
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return
        time.sleep(0.2)
    raise SystemExit("a server did not start")


async def ask(place: Place, n_tokens: int, leave_after: int | None = None) -> Heard:
    """Ask for a stream, and note when text comes. leave_after: arrivals of text after which the client is gone."""
    body = json.dumps(
        {
            **{"model": place.model, "prompt": PROMPT, "max_tokens": n_tokens, "stream": True},
            **{"temperature": TEMPERATURE},
        }
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port, limit=2**20)
    try:
        heard = Heard(time.perf_counter())
        writer.write(
            f"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode()
        )
        status = await reader.readline()
        if b" 200 " not in status:
            raise SystemExit(f"{place.name}: {status!r} {await reader.read(2000)!r}")
        held = b""
        while data := await reader.read(2**16):
            whole, _, held = (held + data).rpartition(b"\n\n")
            n = characters(whole)
            if n:
                heard.arrivals.append(time.perf_counter())
                heard.n_characters += n
            if leave_after is not None and len(heard.arrivals) >= leave_after:
                writer.transport.abort()
                break
    finally:
        writer.close()
    return heard


def characters(data: bytes) -> int:
    """Count the characters of the texts in events: all that is parsed of them, so that the client takes little time."""
    n = 0
    for part in data.split(b'"text":')[1:]:
        text, _ = json.JSONDecoder().raw_decode(part.decode("utf-8", "replace").lstrip())
        n += len(text)
    return n


async def ask_together(place: Place, n_streams: int, n_tokens: int) -> tuple[list[Heard], float]:
    start = time.perf_counter()
    heard = await asyncio.gather(*(ask(place, n_tokens) for _ in range(n_streams)))
    return list(heard), time.perf_counter() - start


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 in milliseconds."""
    ordered = sorted(values)
    return {
        f"p{p}": round(1e3 * ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 2) for p in (50, 95, 99)
    }


def compare(places: Sequence[Place], arguments: Arguments) -> list[dict[str, Any]]:
    rows = []
    for n_streams in arguments.streams:
        rates: dict[str, list[float]] = {place.name: [] for place in places}
        heard: dict[str, list[Heard]] = {place.name: [] for place in places}
        for _ in range(arguments.repeats):
            for place in places:
                resume_only(place, places)
                found, seconds = asyncio.run(ask_together(place, n_streams, arguments.tokens))
                heard[place.name] += found
                rates[place.name].append(sum(each.n_characters for each in found) / seconds)
        medians = {name: statistics.median(of) for name, of in rates.items()}
        for name, rate in medians.items():
            row = {
                "streams": n_streams,
                "server": name,
                "tokens_per_second": round(rate),
                "folio_is_faster_by": round(medians["folio"] / rate, 2) if "folio" in medians else None,
                "first_token_ms": percentiles([each.first for each in heard[name]]),
                "between_ms": percentiles([gap for each in heard[name] for gap in each.gaps]),
                "tokens_of_an_answer": round(statistics.mean(each.n_characters for each in heard[name])),
            }
            rows.append(row)
            show(row)
    return rows


def show(row: Mapping[str, Any]) -> None:
    times = (
        f"{key[:-3].replace('_', ' ')} {row[key]['p50']:.1f} / {row[key]['p95']:.1f} / {row[key]['p99']:.1f} ms"
        for key in ("first_token_ms", "between_ms")
    )
    print(
        f"{row['streams']:>3} streams  {row['server']:<34} {row['tokens_per_second']:>6} tokens/s  "
        f"x{row['folio_is_faster_by']}  {'  '.join(times)}  ({row['tokens_of_an_answer']} tokens each)"
    )


async def drop_a_third(place: Place, arguments: Arguments, at_once: int = 64) -> int:
    """Ask many times, every third leaving midway. Return how many were answered whole."""
    chance, limit, n_whole = random.Random(0), asyncio.Semaphore(at_once), 0

    async def one(number: int) -> int:
        leaves = number % 3 == 0
        async with limit:
            after = chance.randrange(arguments.tokens // 2) if leaves else None
            heard = await ask(place, arguments.tokens, after)
        return int(not leaves and heard.n_characters > 0)

    for answered in asyncio.as_completed([one(number) for number in range(arguments.requests)]):
        n_whole += await answered
    return n_whole


def endure(place: Place, arguments: Arguments) -> dict[str, Any]:
    """Return what is left of many requests of which a third was dropped: places, and memory."""
    server = psutil.Process(place.process.pid)
    for _ in range(3):  # until it holds what it keeps: the prefixes of earlier answers, up to its limit
        asyncio.run(ask_together(place, 64, arguments.tokens))
    before = server.memory_info().rss
    start = time.perf_counter()
    n_whole = asyncio.run(drop_a_third(place, arguments))
    seconds = time.perf_counter() - start
    time.sleep(1)
    with urllib.request.urlopen(f"http://127.0.0.1:{place.port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    places = sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_"))
    row = {
        "requests": arguments.requests,
        "answered_whole": n_whole,
        "seconds": round(seconds, 1),
        "places_in_use_after": int(places),
        "memory_before_mb": round(before / 1e6),
        "memory_after_mb": round(server.memory_info().rss / 1e6),
    }
    print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in row.items()))
    return row


def resume_only(chosen: Place, places: Sequence[Place]) -> None:
    """Stop the processes of all servers but one, for some are never idle."""
    for place in places:
        process = psutil.Process(place.process.pid)
        for each in (process, *process.children(recursive=True)):
            each.resume() if place is chosen else each.suspend()


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    directory = find_model(arguments.model).resolve()
    print(f"{describe(choose_device('cpu'))}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with ExitStack() as stack:
        places = [stack.enter_context(running(name, directory)) for name in arguments.servers]
        stack.callback(lambda: [psutil.Process(place.process.pid).resume() for place in places])
        for place in places:
            resume_only(place, places)
            asyncio.run(ask_together(place, 2, 20))  # loads the model
        rows = compare(places, arguments)
        if arguments.requests and places[0].name == "folio":
            resume_only(places[0], places)
            rows.append(endure(places[0], arguments))
    if arguments.write:
        add_measurement(Path(__file__), rows, packages=("transformers",))


if __name__ == "__main__":
    main()
