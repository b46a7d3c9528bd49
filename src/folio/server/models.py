"""Models that are loaded when they are asked for, and unloaded when others need their memory."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from folio import __version__
from folio.files import read_directory
from folio.inference.batching import CACHE_TOKENS, COLUMNS, Batch
from folio.inference.reading import compiled_decoder
from folio.model.directory import load_model, weights_digest
from folio.model.gpt import GPT
from folio.runs.directory import RunDirectory
from folio.runs.load import find_model
from folio.runtime import available_memory, choose_device
from folio.server.catalog import Catalog, Entry
from folio.server.config import ServerConfig
from folio.server.errors import ApiError
from folio.server.vocabulary import Vocabulary
from folio.server.worker import Worker
from folio.tokenizer.directory import load_tokenizer
from folio.tokenizer.protocol import Tokenizer

SPARED_SECONDS = 10.0
"""A model that was asked for so recently is not unloaded: its request may be about to use it."""
END_SECONDS = 2.0
"""How long to wait for a model's thread at the end."""
STEP = "@"
"""`id@step` is the model of a run at that step."""


@dataclass(eq=False, kw_only=True)
class Served:
    """A loaded model.

    `model` and what reads it may be used in the worker's thread only: `await served.worker.call(function)`.
    """

    entry: Entry
    name: str
    """The id under which it was asked for: that of the entry, or `id@step`."""
    model: GPT
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    worker: Worker
    fingerprint: str
    """The same for the same weights, folio and precision: then the same seed gives the same answer."""
    n_bytes: int
    used: float = field(default_factory=time.monotonic)


class Models:
    """The models of a catalog, as they are asked for."""

    def __init__(self, catalog: Catalog, config: ServerConfig) -> None:
        self.catalog = catalog
        self._config = config
        self._device = choose_device(config.device)
        free = available_memory(self._device) / 2
        self._limit = int(free if config.memory is None else config.memory * 1e9)
        self._served: dict[str, Served] = {}
        self._loading: dict[str, asyncio.Task[Served]] = {}
        self._turn = asyncio.Lock()
        """Held by what loads a model: one at a time makes room, and no two for the same."""

    def entries(self) -> list[Entry]:
        """Return what is on offer, reward models included."""
        return self.catalog.entries()

    def loaded(self) -> Iterator[Served]:
        """Yield the loaded models."""
        yield from self._served.values()

    def find(self, id: str | None) -> tuple[Entry, int | None]:
        """Return the entry for an id or `id@step`, and the step; for None, the only model that can write.

        Raises ApiError where there is none (404), or there are several to choose from (400).
        """
        if id is None:
            return self._only(), None
        name, separator, step = id.rpartition(STEP)
        ids = {entry.id for entry in self.entries()}
        if id not in ids and separator and name in ids:
            entry = self.catalog.find(name)
            if step in map(str, entry.checkpoints):
                return entry, int(step)
        return self.catalog.find(id), None

    async def get(self, id: str | None, checkpoint: int | None = None) -> Served:
        """Return a model, loaded now if it is not yet, or has been replaced. id: as for `find`.

        Raises ApiError where there is none (404), where it writes no text (400), and where it does not fit in memory
        (400, or 503 while others are in use); UserError where it is damaged.
        """
        entry, step = self.find(id)
        step = step if checkpoint is None else checkpoint
        if step is not None and step not in entry.checkpoints:
            known = ", ".join(map(str, entry.checkpoints)) or "none"
            raise ApiError(
                404, f"{entry.id} has no checkpoint of step {step}: there are {known}.", "checkpoint"
            )
        if entry.kind == "reward":
            raise ApiError(400, f"{entry.id} is a reward model: it scores text and writes none.", "model")
        name = entry.id if step is None else f"{entry.id}{STEP}{step}"
        served = self._served.get(name)
        if served is None or (step is None and served.entry.version != entry.version):
            served = await self._load(name, entry, step)
        served.used = time.monotonic()
        return served

    async def close(self) -> None:
        """Let all models go, once their answers are written."""
        for task in self._loading.values():
            task.cancel()
        served = list(self._served.values())
        self._served.clear()
        for each in served:
            each.worker.close()
        for each in served:
            await asyncio.to_thread(each.worker.join, END_SECONDS)

    def _only(self) -> Entry:
        offered = [entry for entry in self.entries() if entry.kind != "reward"]
        if len(offered) == 1:
            return offered[0]
        known = ", ".join(entry.id for entry in offered[:5])
        if not offered:
            raise ApiError(404, "There is no model here yet.", "model", "model_not_found")
        raise ApiError(
            400,
            f"model is missing, and there are {len(offered)}: {known}.",
            "model",
            "missing_required_parameter",
        )

    async def _load(self, name: str, entry: Entry, step: int | None) -> Served:
        """Load a model once, however many ask for it; one who leaves meanwhile does not stop it."""
        task = self._loading.get(name)
        if task is None:
            task = asyncio.create_task(self._loaded(name, entry, step))
            self._loading[name] = task
            task.add_done_callback(lambda _: self._forget(name, task))
        return await asyncio.shield(task)

    def _forget(self, name: str, task: asyncio.Task[Served]) -> None:
        self._loading.pop(name, None)
        if not task.cancelled():
            task.exception()  # which those who wait are told; if all have left, nobody needs to know

    async def _loaded(self, name: str, entry: Entry, step: int | None) -> Served:
        async with self._turn:
            n_bytes = memory_of(entry, self._config.rows)
            self._make_room(name, entry, n_bytes)
            model, vocabulary, digest = await asyncio.to_thread(read, entry, step, self._device)
            if replaced := self._served.pop(name, None):
                replaced.worker.close()
            self._served[name] = Served(
                entry=entry,
                name=name,
                model=model,
                tokenizer=vocabulary.tokenizer,
                vocabulary=vocabulary,
                worker=Worker(
                    lambda: Batch(model, max_rows=self._config.rows),
                    limit=self._config.rows + self._config.queue,
                ),
                fingerprint=fingerprint(digest, model),
                n_bytes=n_bytes,
            )
            return self._served[name]

    def _make_room(self, name: str, entry: Entry, n_bytes: int) -> None:
        """Unload models that are not in use, those used least recently first, until n_bytes fit."""
        if n_bytes > self._limit:
            raise ApiError(
                400,
                f"{entry.id} needs {n_bytes / 1e9:.1f} GB, and this server takes {self._limit / 1e9:.1f} GB for models: "
                "start it with a larger --memory.",
                "model",
                "model_too_large",
            )
        now = time.monotonic()
        idle = sorted(
            (
                each
                for each in self._served.values()
                if each.worker.is_idle and now - each.used > SPARED_SECONDS
            ),
            key=lambda each: each.used,
        )
        held = sum(each.n_bytes for key, each in self._served.items() if key != name)
        for each in idle:
            if held + n_bytes <= self._limit:
                return
            if each.name != name:
                held -= each.n_bytes
                each.worker.close()
                del self._served[each.name]
        if held + n_bytes > self._limit:
            raise ApiError(
                503,
                f"There is no memory for {entry.id} while other models are in use: try again later.",
                "model",
                "overloaded",
                {"Retry-After": str(int(SPARED_SECONDS))},
            )


def read(entry: Entry, step: int | None, device: torch.device) -> tuple[GPT, Vocabulary, str]:
    """Read a model onto a device, its vocabulary and the digest of its weights, all of one version, and undamaged."""
    path = find_model(entry.path) if step is None else RunDirectory(entry.path).models().get(step, entry.path)
    model, vocabulary, digest = read_directory(path, read_parts)
    return model.to(device), vocabulary, digest


def read_parts(directory: Path) -> tuple[GPT, Vocabulary, str]:
    """Read the parts of a model directory."""
    return load_model(directory).eval(), Vocabulary(load_tokenizer(directory)), weights_digest(directory)


def fingerprint(digest: str, model: GPT) -> str:
    """Return what the answers depend on besides the request: weights, versions, precision and decoder."""
    decoder = "torch" if compiled_decoder(model) is None else "compiled"
    parts = f"{digest} {__version__} {torch.__version__} {model.compute_dtype} {decoder}"
    return f"fp_{hashlib.sha256(parts.encode()).hexdigest()[:12]}"


def memory_of(entry: Entry, rows: int) -> int:
    """Estimate the bytes that a loaded model takes: its weights, their copy for decoding, keys and values."""
    config = entry.config
    per_token = 8 * config.n_layer * config.n_kv_head * config.head_size
    return 8 * entry.parameters + per_token * (CACHE_TOKENS + rows * min(config.block_size, COLUMNS))
