"""Write shards on several processors: the part of `data/tokenizing.py` that each process imports, which must be quick."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from folio.data.shards import Shard, write_shard
from folio.errors import UserError


@dataclass(frozen=True)
class Chunk:
    """The texts of a shard, each with its place."""

    name: str
    texts: list[tuple[str, str]]


def written(directory: Path, todo: Iterable[Chunk], processes: int) -> Iterator[Shard]:
    """Yield the shards of chunks as they are done, by so many processes, with one chunk more in memory than those."""
    if processes == 1:
        yield from (write_shard(directory, chunk.name, chunk.texts) for chunk in todo)
        return
    pending: set[Future[Shard | str]] = set()
    context = multiprocessing.get_context("spawn")  # a fork would take along the locks of threads
    with ProcessPoolExecutor(processes, context, _start_worker) as pool:
        try:
            for chunk in todo:
                pending.add(pool.submit(_attempt, directory, chunk))
                if len(pending) > processes:
                    finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from map(_result, finished)
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from map(_result, finished)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _result(future: Future[Shard | str]) -> Shard:
    try:
        result = future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a process that tokenizes was ended from outside, most often for want of memory: use fewer processes. The shards "
            "that are done stay."
        ) from error
    if isinstance(result, str):
        raise UserError(result)
    return result


def _attempt(directory: Path, chunk: Chunk) -> Shard | str:
    """Return the shard of a chunk, or what the user must know: not all exceptions travel between processes."""
    try:
        return write_shard(directory, chunk.name, chunk.texts)
    except UserError as error:
        return str(error)


def _start_worker() -> None:
    """Let a process end at Ctrl-C without a word, and with the one that started it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent: Any = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
