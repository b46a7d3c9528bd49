"""The files behind a run's settings, by size and time: what has not changed since need not be read again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from folio.config import flatten, to_table
from folio.data.corpora import KNOWN_CORPORA, KnownCorpus, find_data
from folio.data.known import text_of_instructions
from folio.errors import UserError
from folio.runs.default_data import named_or_default
from folio.runs.directory import RunDirectory
from folio.runs.rewards import is_function, split_weight


def stamp(config: Any) -> str:
    """Return a digest of the paths, sizes and times of all files that a stage's settings name as data or models.

    Reward functions are not among them: they may be changed in a run. It is "" where some of the data are no files that are
    known here, such as those on the Hub: only reading them tells whether they have changed.
    """
    digest = hashlib.sha256()
    names = list(data_of(config))
    if not all(any(True for _ in files_of_data(name)) for name in names):
        return ""
    for file in files_behind(config):
        status = file.stat()
        line = f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def files_behind(config: Any) -> Iterator[Path]:
    """Yield the files of the data and models that settings name."""
    for name in data_of(config):
        yield from files_of_data(name)
    settings = flatten(to_table(config))
    models = [split_weight(spec)[0] for key in ("reward", "gold") for spec in settings.get(key, ())]
    for model in (settings.get("model"), *models):
        if model and not is_function(model):
            path = Path(os.path.expanduser(model))
            best = RunDirectory(path).best
            yield from files_below(best if os.path.isdir(best) else path)


def data_of(config: Any) -> Iterator[str]:
    """Yield the names of the data that settings name, or that go with their model."""
    settings = flatten(to_table(config))
    data, validation = settings.get("data"), settings.get("validation")
    if not data and settings.get("model"):
        with suppress(UserError):  # reading the data will tell it
            data, validation = named_or_default((), validation, Path(settings["model"]))
    yield from filter(None, (*((data,) if isinstance(data, str) else data or ()), validation))


def files_of_data(name: str) -> Iterator[Path]:
    """Yield the files of data by name or path; none where they are not on this machine."""
    text = text_of_instructions(name) or name
    known = KNOWN_CORPORA.get(text)
    yield from files_below(find_data(known.path if isinstance(known, KnownCorpus) else text))


def files_below(path: Path) -> Iterator[Path]:
    """Yield a file, or all files of a folder and its sub-folders in order; none where there is nothing."""
    if os.path.isfile(path):  # unlike Path.is_file, it takes any name
        yield path
    for folder, folders, names in os.walk(path):
        folders.sort()
        yield from (
            Path(folder, name) for name in sorted(names) if os.path.isfile(os.path.join(folder, name))
        )
