"""What can be served: the models of runs and of model directories, by ids that are looked up and never made into paths."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safetensors import safe_open

from folio.errors import UserError, parsing
from folio.files import CHECKSUMS, readable_directory
from folio.model.config import GPTConfig
from folio.model.directory import CONFIG, WEIGHTS, is_score_model, read_config
from folio.runs.directory import RunDirectory, run_around
from folio.runs.load import stage_of
from folio.runs.stages import STAGES
from folio.server.errors import ApiError
from folio.tokenizer.chat_template import FILE as TEMPLATE_FILE
from folio.tokenizer.chat_template import TEMPLATE

SCAN_SECONDS = 1.0
"""A list of models is so old at most; where it takes long to make, as of a whole disk, ten times as old as that."""
MASK = re.compile(r"\.attn\.(masked_)?bias$")
Kind = Literal["base", "chat", "reward"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model on offer."""

    id: str
    path: Path
    """Its run, or its model directory."""
    directory: Path
    """The model directory: of a run the best model, or else the newest checkpoint."""
    version: tuple[object, ...]
    """Changes when the model is replaced, as while its run trains."""
    kind: Kind
    """"base": continues texts. "chat": answers. "reward": scores, and writes nothing."""
    config: GPTConfig
    parameters: int
    created: int
    """Seconds since 1970."""
    checkpoints: tuple[int, ...]
    """Steps of the run at which there is a model as well, the first one first."""


class Catalog:
    """The models below some paths, scanned anew when that was a while ago.

    paths: folders that hold runs and model directories at any depth, or such a one itself.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self._entries: dict[str, Entry] = {}
        self._scanned = -SCAN_SECONDS
        self._took = 0.0
        """Seconds of the last scan."""

    def entries(self) -> list[Entry]:
        """Return what is on offer, reward models included, in the order of the paths, then by name."""
        if time.monotonic() - self._scanned >= SCAN_SECONDS * max(1.0, 10 * self._took):
            self.scan()
        return list(self._entries.values())

    def scan(self) -> None:
        """Look again."""
        started = time.monotonic()
        known = {entry.path: entry for entry in self._entries.values()}
        found: dict[str, Entry] = {}
        for root in self.paths:
            for path in find_models(root):
                id = unused(name_of(root, path), found)
                with suppress(UserError, OSError):  # no model yet, or one that is damaged or being replaced
                    found[id] = describe(id, path, known.get(path))
        self._entries = found
        self._scanned = time.monotonic()
        self._took = self._scanned - started

    def find(self, id: str) -> Entry:
        """Return the entry with an id. Raises ApiError (404)."""
        for entry in self.entries():
            if entry.id == id:
                return entry
        raise unknown_model(id)


def unknown_model(id: str) -> ApiError:
    """Return the refusal of a model that is not on offer."""
    return ApiError(
        404, f"There is no model {id[:80]!r} here: GET /v1/models lists them.", "model", "model_not_found"
    )


def find_models(root: Path) -> Iterator[Path]:
    """Yield the runs and model directories at and below a folder by name, without descending into them."""
    for folder, folders, files in os.walk(root):
        if "run.json" in files or CONFIG in files:
            folders.clear()
            yield Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def name_of(root: Path, path: Path) -> str:
    """Return a model's id: its path below the root, or the root's own name."""
    return path.relative_to(root).as_posix() if path != root else root.resolve().name or "model"


def unused(id: str, taken: Collection[str]) -> str:
    """Return the id, with a number where another model has it: two folders may hold runs of one name."""
    candidates = (id if n == 1 else f"{id}-{n}" for n in range(1, len(taken) + 2))
    return next(candidate for candidate in candidates if candidate not in taken)


def describe(id: str, path: Path, known: Entry | None = None) -> Entry:
    """Return the entry of a run or a model directory; `known` is taken as it is where its model is still the same.

    Raises UserError where there is no model, or its config cannot be read.
    """
    directory, checkpoints = model_of(path)
    place = readable_directory(directory)
    run = RunDirectory(run_around(path) or path)
    stamps = [changed(file) for file in (place / CONFIG, place / CHECKSUMS, run.info_file)]
    version = (directory, *stamps)
    if known is not None and (known.id, known.version, known.checkpoints) == (id, version, checkpoints):
        return known
    config = read_config(place)
    return Entry(
        id=id,
        path=path,
        directory=directory,
        version=version,
        kind=kind_of(place, stage_of(run.path)),
        config=config,
        parameters=count_weights(place),
        created=max(stamps[:2])[0] // 10**9,
        checkpoints=checkpoints,
    )


def changed(file: Path) -> tuple[int, int]:
    """Return what changes when a file is replaced: when it was written, in nanoseconds, and which it is."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_ino


def model_of(path: Path) -> tuple[Path, tuple[int, ...]]:
    """Return the model directory to serve for a run or a model directory, and the steps of other ones.

    Raises UserError where a run has none yet.
    """
    run = RunDirectory(path)
    if not run.exists:
        return path, ()
    steps = run.models()
    if (readable_directory(run.best) / CONFIG).exists():
        return run.best, tuple(steps)
    if not steps:
        raise UserError(f"{path} has no checkpoint yet.")
    return steps[max(steps)], tuple(steps)


def count_weights(directory: Path) -> int:
    """Return the number of weights in a model directory, from the heads of its files: those of GPT-2 have masks as well."""
    n = 0
    for path in sorted(directory.glob("*.safetensors")):
        if path.name.startswith(WEIGHTS.partition(".")[0]):  # not what a checkpoint keeps of its optimizer
            with parsing(path), safe_open(path, framework="pt") as file:
                names = [name for name in file.keys() if not MASK.search(name)]  # noqa: SIM118  # it is no dict
                n += sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    return n


def kind_of(directory: Path, stage: str) -> Kind:
    """Return what a model does. A model of no run can chat where it has folio's template: nothing else tells."""
    if is_score_model(directory):
        return "reward"
    if stage:
        return "chat" if stage in STAGES and STAGES[stage].makes_assistant else "base"
    template = directory / TEMPLATE_FILE
    return "chat" if template.is_file() and template.read_text(encoding="utf-8") == TEMPLATE else "base"
