"""Tokenize a text of any size into shards (`data/shards.py`), once, on all processors, and go on where that was interrupted.

The documents are read in order and cut into shards of about the same number of characters; each shard is tokenized and
written by one process. What is in a shard follows from the documents alone, so that the bytes are the same with any number
of processes, and after any interruption. Within a shard the documents stand in the order of their hashes, a random one that
is always the same; over shards they stay in the order of their files. That is all the shuffling that documents need, as
training permutes the windows of all shards, anew in every epoch (`data/windows.py: RandomWindows`).
"""

from __future__ import annotations

import heapq
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from folio.activity import activity
from folio.data.shard_workers import Chunk, written
from folio.data.shards import (
    INDEX,
    PLAN,
    Shard,
    TokenShards,
    documents_file,
    ids_file,
    is_shards,
    open_shards,
    write_index,
)
from folio.data.split import MANY, SHARE
from folio.data.streams import Document, Source
from folio.errors import UserError
from folio.files import append_line, read_json, read_lines, write_file
from folio.tokenizer.choice import TokenizerChoice
from folio.tokenizer.pieces import pieces

SHARD = 2**24
"""Characters of a shard, about: at 2 MB/s, what an interruption costs is 8 seconds."""
SAMPLE = 2**25
"""Characters on which a BPE tokenizer is trained; more change few of its merges."""
MUCH = 50_000_000
"""Characters from which on a hundredth is held out instead of a tenth: 0.5 million are more than an evaluation reads."""
TOKENIZER_FILES = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
"""What an interruption may leave before there is a plan."""
DONE = "shards.jsonl"
"""The list of the shards that are done, until `index.json` has them all."""


@dataclass
class Survey:
    """What one reading of a text tells, before it is tokenized.

    n_characters, n_documents: of the training documents. n_held_out: characters in those that SHARE holds out by hash, and
    n_held_out_of_much: that a tenth of SHARE does. digests: of different documents, up to MANY. characters: all different
    ones, where they are asked for. sample: pieces with the smallest hashes, in their order, about SAMPLE characters in all.
    """

    n_characters: int = 0
    n_documents: int = 0
    held_out: dict[float, int] = field(default_factory=lambda: {SHARE: 0, SHARE / 10: 0})
    digests: set[int] = field(default_factory=set)
    characters: set[str] = field(default_factory=set)
    sample: list[str] = field(default_factory=list)
    has_text: bool = False


def survey(source: Source, characters: bool = False, sample: int = 0) -> Survey:
    """Read all documents once. characters: whether to list them. sample: how many characters of text to keep.

    The sample leaves out documents that may be held out by hash. Raises UserError where nothing is in the documents, and for
    what cannot be read.
    """
    found = Survey()
    heap: list[tuple[int, int, str]] = []  # the piece with the largest hash comes first
    n_sample = 0
    for document in source.train:
        found.n_characters += len(document.text)
        found.n_documents += document.is_start
        found.has_text = found.has_text or not document.text.isspace()
        key = document.key
        if len(found.digests) < MANY:
            found.digests.add(key)
        for share in found.held_out:
            found.held_out[share] += len(document.text) if _is_held_out(key, share) else 0
        if characters:
            found.characters.update(document.text)
        if sample and not _is_held_out(key, SHARE):
            for number, piece in enumerate(pieces(document.text)):
                part = Document(piece, document.where)
                heapq.heappush(heap, (-part.key, number, piece))
                n_sample += len(piece)
                while n_sample - len(heap[0][2]) >= sample:
                    n_sample -= len(heapq.heappop(heap)[2])
    if not found.has_text:
        raise UserError(f"{source.train.data} is empty: name data with text in them.")
    if characters and source.validation is not None:
        found.characters.update(*(document.text for document in source.validation))
    found.sample = [piece for _, _, piece in sorted(heap, reverse=True)]
    return found


def _is_held_out(key: int, share: float) -> bool:
    return key < share * 2**64


@dataclass(frozen=True)
class Plan:
    """What the shards of a directory are made of, and how: written before the first of them.

    identity: of the text and of the tokenizer that it is to get. share: of the documents, by hash, that is held out; 0 where
    names of files say, or where it is the text from the character `border` on.
    """

    identity: str
    origin: str
    n_characters: int
    share: float
    border: int | None
    shard: int


def tokenize(
    source: Source,
    directory: Path,
    choice: TokenizerChoice,
    *,
    processes: int | None = None,
    shard: int = SHARD,
) -> TokenShards:
    """Tokenize documents into a directory of shards, or what an interruption has left of them; open it if it is complete.

    Validation documents are those that names of files say; or else a share, by the hash of their text; or else, where there
    are fewer than MANY different ones, the last tenth of the text.

    Args:
        source: the documents.
        directory: where the shards are to be; new, empty, or begun with the same documents and the same choice.
        choice: the tokenizer. BPE is trained on a sample of the documents.
        processes: how many tokenize; by default one for each processor. A script that has more than one do it must keep
            what it does under `if __name__ == "__main__":`, as these import it.
        shard: characters of a shard, about. It changes the bytes.

    Raises:
        UserError: for data that cannot be read, a directory that holds something else, and where there is no room.
    """
    identity = f"{source.identity}\n{choice.identity}"
    with _owned(directory):
        if not is_shards(directory):
            _begin(source, directory, choice, identity, shard)
        plan = read_plan(directory)
        if plan.identity != identity:
            raise UserError(
                f"{directory} holds shards of another text, of one that has changed, or of another tokenizer: name another "
                "directory, or remove this one."
            )
        if not os.path.exists(directory / INDEX):
            n_shards = -(-plan.n_characters // plan.shard)
            _finish(source, directory, plan, min(processes or os.cpu_count() or 1, n_shards))
        return open_shards(directory)


def read_plan(directory: Path) -> Plan:
    """Return what a directory of shards is made of. Raises UserError where its plan is damaged."""
    content = read_json(directory / PLAN, "Remove the directory, and tokenize the text again.")
    try:
        return Plan(**content)
    except TypeError as error:
        raise UserError(
            f"{directory / PLAN} is damaged: remove the directory, and tokenize the text again."
        ) from error


@contextmanager
def _owned(directory: Path) -> Iterator[None]:
    """Own a directory while the block runs. A second process waits for it, and finds the work done.

    Raises UserError where it cannot be made, or holds something else.
    """
    lock = FileLock(directory / ".lock")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        names = {name for name in os.listdir(directory) if not name.startswith(".")}
        if not is_shards(directory) and not names <= TOKENIZER_FILES:
            raise UserError(f"{directory} is not empty: name another directory.")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            with activity(f"Waiting for another process that tokenizes into {directory}"):
                lock.acquire()
    except OSError as error:
        raise UserError(f"{directory} cannot be written ({error.strerror or error}).") from error
    try:
        yield
    finally:
        lock.release()


def _begin(source: Source, directory: Path, choice: TokenizerChoice, identity: str, shard: int) -> None:
    """Read the documents once, make the tokenizer, and write both it and the plan."""
    is_trained = choice.directory is None
    with activity("Reading the documents"):
        found = survey(
            source,
            characters=is_trained and choice.kind == "char",
            sample=SAMPLE if is_trained and choice.kind == "bpe" else 0,
        )
    with activity("Building the vocabulary"):
        choice.make(lambda: found.characters, lambda: found.sample).save(directory)
    share = SHARE if found.n_characters < MUCH else SHARE / 10
    by_hash = len(found.digests) >= MANY and 0 < found.held_out[share] < found.n_characters
    border = None if by_hash or source.validation is not None else int((1 - SHARE) * found.n_characters)
    notes = source.train.notes()
    plan = Plan(
        identity=identity,
        origin=f"{source.origin} ({notes})" if notes else source.origin,
        n_characters=found.n_characters,
        share=share if by_hash and source.validation is None else 0.0,
        border=border,
        shard=shard,
    )
    write_file(directory / PLAN, (json.dumps(asdict(plan), indent=1) + "\n").encode())


def _finish(source: Source, directory: Path, plan: Plan, processes: int) -> None:
    """Write the shards that are not there yet, and the index of all."""
    done = {shard.name: shard for shard in _done(directory)}
    names: list[str] = []
    n_read, start = 0, time.monotonic()

    def words() -> str:
        speed = n_read / 1e6 / (time.monotonic() - start)
        return f"Tokenizing, {n_read / max(1, plan.n_characters):.0%}, {speed:.1f} M characters/s"

    def missing() -> Iterator[Chunk]:
        nonlocal n_read
        for chunk in chunks(divided(source, plan), plan.shard):
            names.append(chunk.name)
            if chunk.name not in done:
                yield chunk
            n_read += sum(len(text) for text, _ in chunk.texts)

    with activity(words):
        for shard in written(directory, missing(), processes):
            append_line(directory / DONE, asdict(shard))
            done[shard.name] = shard
    order = [done[name] for name in sorted(names)]
    train = [shard for shard in order if shard.name.startswith("train-")]
    validation = [shard for shard in order if not shard.name.startswith("train-")]
    write_index(directory, train, validation)
    (directory / DONE).unlink(missing_ok=True)


def _done(directory: Path) -> Iterator[Shard]:
    """Yield the shards that an earlier call has written and listed."""
    for record in read_lines(directory / DONE, lambda record: record.keys() == Shard.__annotations__.keys()):
        shard = Shard(**record)
        if all(path(directory, shard.name).exists() for path in (ids_file, documents_file)):
            yield shard


def divided(source: Source, plan: Plan) -> Iterator[tuple[str, Document]]:
    """Yield all documents with their side, "train" or "validation"; one that crosses the border is cut there."""
    n_before = 0
    for document in source.train:
        if plan.border is None:
            yield ("validation" if _is_held_out(document.key, plan.share) else "train"), document
            continue
        here = min(max(0, plan.border - n_before), len(document.text))
        n_before += len(document.text)
        for side, text in (("train", document.text[:here]), ("validation", document.text[here:])):
            if text:
                yield side, Document(text, document.where)
    for document in source.validation or ():
        yield "validation", document


def chunks(documents: Iterable[tuple[str, Document]], size: int) -> Iterator[Chunk]:
    """Yield the documents of each shard: in order, until there are `size` characters or more."""
    waiting: dict[str, list[tuple[str, str]]] = {"train": [], "validation": []}
    lengths, numbers = dict.fromkeys(waiting, 0), dict.fromkeys(waiting, 0)

    def take(side: str) -> Chunk:
        chunk = Chunk(f"{side}-{numbers[side]:05d}", waiting[side])
        waiting[side], lengths[side] = [], 0
        numbers[side] += 1
        return chunk

    for side, document in documents:
        waiting[side].append((document.text, document.where))
        lengths[side] += len(document.text)
        if lengths[side] >= size:
            yield take(side)
    yield from (take(side) for side in tuple(waiting) if waiting[side])
