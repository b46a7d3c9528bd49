"""Token shards: a text of any size as ids on the disk, tokenized once, memory-mapped ever after.

A directory of shards has the tokenizer (`tokenizer.json` and what goes with it), `index.json`, and for each shard two arrays
in NumPy's format: `train-00000.npy` with ids, (n) uint16 or uint32, in which `<|bos|>` begins each document, and
`train-00000.documents.npy` with the places of those beginnings, (documents) int64. `index.json` names every shard, its
size and its SHA-256, and the fingerprint of the tokenizer; it is written last, so where it is, all is there.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folio.errors import UserError, parsing
from folio.files import atomic_file, read_json, sha256, write_file
from folio.log import format_count, format_size
from folio.tokenizer.directory import fingerprint, load_tokenizer
from folio.tokenizer.pieces import encode_long
from folio.tokenizer.protocol import Tokenizer
from folio.tokenizer.special_tokens import STANDARD_NAMES
from folio.tokenizer.tokenizer_json import FILE

INDEX = "index.json"
PLAN = "plan.json"
"""What `data/tokenizing.py` keeps beside the shards: what they are made of."""
VERSION = 1
OPEN_SHARDS = 128
"""Shards that are mapped at the same time: each takes one of the files that a process may have open."""
QUICKLY_CHECKED = 2**30
"""Bytes of shards whose checksums are computed before they are used, in a second; of more, only the sizes are checked."""
HEADER = 128
"""Bytes that NumPy writes before one row of numbers."""
AGAIN = "Tokenize the text again into another directory."


@dataclass(frozen=True)
class Shard:
    """What `index.json` says of a shard.

    n_bytes: of the text, in UTF-8. sha256: of the file of ids. documents_sha256: of that of the beginnings.
    """

    name: str
    n_tokens: int
    n_documents: int
    n_bytes: int
    sha256: str
    documents_sha256: str


def write_shard(directory: Path, name: str, texts: Sequence[tuple[str, str]]) -> Shard:
    """Tokenize texts into a shard, with the tokenizer of the directory, in the order of the hashes of the texts.

    texts: each with its place, for messages. Each of the two files appears whole or not at all. Raises UserError for a
    character that the tokenizer does not know, and where a file cannot be written.
    """
    tokenizer = load_tokenizer(directory)
    bos = np.array([tokenizer.special_ids[STANDARD_NAMES["bos"]]], np.int32)
    ids: list[NDArray[np.int32]] = []
    for text, where in sorted(texts, key=lambda each: hashlib.sha256(each[0].encode()).digest()):
        try:
            ids.append(np.concatenate([bos, encode_long(tokenizer, text)]))
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
    starts = np.cumsum([0, *map(len, ids)], dtype=np.int64)
    tokens, documents = ids_file(directory, name), documents_file(directory, name)
    _write_array(tokens, np.concatenate(ids).astype(id_type(tokenizer)))
    _write_array(documents, starts[:-1])
    n_bytes = sum(len(text.encode()) for text, _ in texts)
    return Shard(name, int(starts[-1]), len(ids), n_bytes, sha256(tokens), sha256(documents))


def id_type(tokenizer: Tokenizer) -> type[np.uint16] | type[np.uint32]:
    """Return the smallest type that holds all ids of a tokenizer."""
    return np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32


def ids_file(directory: Path, name: str) -> Path:
    """Return the file of a shard's ids."""
    return directory / f"{name}.npy"


def documents_file(directory: Path, name: str) -> Path:
    """Return the file of the places in a shard at which documents begin."""
    return directory / f"{name}.documents.npy"


def write_index(directory: Path, train: Sequence[Shard], validation: Sequence[Shard]) -> None:
    """Write `index.json`, which completes a directory of shards; it depends on nothing but the texts and the tokenizer."""
    index = {
        "version": VERSION,
        "tokenizer": fingerprint(directory),
        "train": [asdict(shard) for shard in train],
        "validation": [asdict(shard) for shard in validation],
    }
    write_file(directory / INDEX, (json.dumps(index, indent=1) + "\n").encode())


def is_shards(directory: Path) -> bool:
    """Return whether this is a directory of shards, or was to become one."""
    has_plan = any(os.path.isfile(directory / name) for name in (INDEX, PLAN))
    return has_plan and os.path.isfile(directory / FILE)  # an index.json alone may be anything


class ShardedIds:
    """The ids of shards one after another, memory-mapped: what `data/windows.py: RandomWindows` reads as one long row.

    Takes no memory but that of the pages that are in use. vocab_size: ids beyond are damage.
    """

    def __init__(self, directory: Path, shards: Sequence[Shard], vocab_size: int) -> None:
        self._directory, self._shards, self._vocab_size = directory, shards, vocab_size
        self._ends = np.cumsum([shard.n_tokens for shard in shards], dtype=np.int64)
        self._open: OrderedDict[int, NDArray[Any]] = OrderedDict()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ids at places of any shape, each in range(len(self)).

        Raises UserError where a shard cannot be read, or is damaged.
        """
        shards = np.searchsorted(self._ends, places, side="right")
        ids = np.empty(places.shape, np.int64)
        for number in np.unique(shards):
            here = shards == number
            first = self._ends[number] - self._shards[number].n_tokens
            ids[here] = self.shard(int(number))[places[here] - first]
        if ids.size and ids.max() >= self._vocab_size:
            raise UserError(f"{self._directory} is damaged: it has ids that its tokenizer does not. {AGAIN}")
        return ids

    def shard(self, number: int) -> NDArray[Any]:
        """Return the ids of a shard, memory-mapped: (n_tokens) uint16 or uint32."""
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        shard = self._shards[number]
        path = ids_file(self._directory, shard.name)
        with parsing(path, AGAIN):
            ids = np.load(path, mmap_mode="r", allow_pickle=False)
        if ids.shape != (shard.n_tokens,) or ids.dtype not in (np.uint16, np.uint32):
            raise UserError(f"{path} is not the shard that {INDEX} describes. {AGAIN}")
        self._open[number] = ids
        if len(self._open) > OPEN_SHARDS:
            self._open.popitem(last=False)
        return ids


@dataclass(frozen=True)
class TokenShards:
    """A directory of shards. `open_shards` makes it."""

    directory: Path
    tokenizer: Tokenizer
    train_shards: Sequence[Shard]
    validation_shards: Sequence[Shard]
    sha256: str
    """Digest of `index.json`, and so of all that it has checksums of."""
    origin: str
    """Where they are, and what text they are of."""
    notices: tuple[str, ...] = ()
    """Nothing: a corpus has some."""

    @cached_property
    def train(self) -> ShardedIds:
        """The training ids, in shards."""
        return ShardedIds(self.directory, self.train_shards, self.tokenizer.vocab_size)

    def validation(self, n_tokens: int) -> NDArray[np.int64]:
        """Return so many validation ids, or all there are: as many from the beginning of each shard, whose documents are
        in random order."""
        ids = ShardedIds(self.directory, self.validation_shards, self.tokenizer.vocab_size)
        each = math.ceil(n_tokens / max(1, len(self.validation_shards)))
        first = np.cumsum([0, *(shard.n_tokens for shard in self.validation_shards)])
        places = [
            first[i] + np.arange(min(each, shard.n_tokens)) for i, shard in enumerate(self.validation_shards)
        ]
        return ids[np.concatenate([np.zeros(0, np.int64), *places])]

    @property
    def description(self) -> str:
        """The shards in words."""
        shards = (*self.train_shards, *self.validation_shards)
        n_documents, n_bytes = sum(each.n_documents for each in shards), sum(each.n_bytes for each in shards)
        return (
            f"{format_count(n_documents, 'document')}, {format_size(n_bytes)}, in "
            f"{format_count(len(shards), 'token shard')}: {self.origin}"
        )

    @property
    def train_bytes(self) -> int:
        """UTF-8 bytes of the training text."""
        return sum(shard.n_bytes for shard in self.train_shards)

    def check(self) -> None:
        """Raise UserError where a file has not the checksum that `index.json` says."""
        for shard in (*self.train_shards, *self.validation_shards):
            for path, digest in (
                (ids_file(self.directory, shard.name), shard.sha256),
                (documents_file(self.directory, shard.name), shard.documents_sha256),
            ):
                with parsing(path, AGAIN):
                    found = sha256(path)
                if found != digest:
                    raise UserError(f"{path} has changed since it was written. {AGAIN}")

    def documents(self, n: int) -> Iterator[str]:
        """Yield the first n training documents as text."""
        for number, shard in enumerate(self.train_shards):
            with parsing(path := documents_file(self.directory, shard.name), AGAIN):
                starts = np.load(path, allow_pickle=False)
            ids = self.train.shard(number)
            for start, end in zip(starts[:n], [*starts[1 : n + 1], len(ids)], strict=False):
                yield self.tokenizer.decode(ids[start + 1 : end].tolist())
            n -= len(starts[:n])


def open_shards(directory: Path) -> TokenShards:
    """Open a directory of shards that is complete.

    All sizes are checked, and the checksums where that takes no longer than a moment (QUICKLY_CHECKED); `TokenShards.check`
    checks them in any case. Raises UserError where files are missing, damaged or have changed, and where the tokenizer is
    another than the one that made the ids.
    """
    index_file = directory / INDEX
    if not os.path.exists(index_file):
        raise UserError(
            f"{directory} is no complete directory of shards: it has no {INDEX}. Tokenize the text again; that "
            "continues where it was interrupted."
        )
    index = read_json(index_file, AGAIN)
    with parsing(index_file, f"It is damaged. {AGAIN}"):
        if index["version"] != VERSION:
            raise UserError(f"{index_file} is of another version of folio: {index['version']!r}. {AGAIN}")
        train, validation = ([_shard(each) for each in index[part]] for part in ("train", "validation"))
        made_with = index["tokenizer"]
        content = index_file.read_bytes()
    if fingerprint(directory) != made_with:
        raise UserError(
            f"{directory} has another tokenizer than the one that its shards were made with. Bring that back, or tokenize "
            "the text again into another directory."
        )
    tokenizer = load_tokenizer(directory)
    width = np.dtype(id_type(tokenizer)).itemsize
    n_bytes = sum(_check_size(directory, shard, width) for shard in (*train, *validation))
    shards = TokenShards(
        directory, tokenizer, train, validation, hashlib.sha256(content).hexdigest(), _origin(directory)
    )
    if n_bytes <= QUICKLY_CHECKED:
        shards.check()
    return shards


def _origin(directory: Path) -> str:
    """Return where shards are, and where their text is from, if that is known."""
    if not os.path.isfile(directory / PLAN):
        return str(directory)
    return f"{directory}, of {read_json(directory / PLAN, AGAIN).get('origin')}"


def _shard(entry: Mapping[str, Any]) -> Shard:
    """Return a shard of an entry of the index. Raises ValueError for one that is none."""
    shard = Shard(**entry)
    numbers = (shard.n_tokens, shard.n_documents, shard.n_bytes)
    if not all(isinstance(n, int) and n >= 0 for n in numbers) or Path(shard.name).name != shard.name:
        raise ValueError(f"{entry} describes no shard")
    return shard


def _check_size(directory: Path, shard: Shard, width: int) -> int:
    """Return the bytes of a shard's ids. Raises UserError where it is missing, or shorter or longer than it must be."""
    path = ids_file(directory, shard.name)
    with parsing(path, AGAIN):
        size = path.stat().st_size
    n_bytes = shard.n_tokens * width
    if size != HEADER + n_bytes:
        raise UserError(
            f"{path} has {size:,} bytes instead of {HEADER + n_bytes:,}: it was cut off or changed. {AGAIN}"
        )
    return n_bytes


def _write_array(path: Path, array: NDArray[Any]) -> None:
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)
