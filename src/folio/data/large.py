"""Find the token shards of data: a directory of them, or those that are made, once, of a text that is large."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from folio.data.corpora import KNOWN_CORPORA, data_folders, find_data
from folio.data.shards import TokenShards, is_shards, open_shards
from folio.data.streams import files_size, find_source, must_stream
from folio.data.tokenizing import tokenize
from folio.errors import UserError
from folio.tokenizer.choice import TokenizerChoice
from folio.tokenizer.directory import fingerprint

LARGE = 50_000_000
"""Bytes of files from which on a text is tokenized into shards. Below, reading and tokenizing it at every start takes less
than half a minute at 2 MB/s, and it is simpler to read; above, a start would soon take minutes and gigabytes."""
KEY_LENGTH = 16


def find_shards(data: str, validation: str | None, choice: TokenizerChoice) -> TokenShards | None:
    """Return the token shards of data, or None for a text that is better read whole (`data/corpora.py: load_corpus`).

    data: a directory of shards, or a text as `data/streams.py: find_source` takes it. One that is large, compressed or on the
    Hub is tokenized into shards in the user's cache (`cache`), and found there the next time, as long as it does not change.
    choice: its tokenizer; shards have their own.

    Raises UserError where the shards or the text cannot be read, and where shards are to have another tokenizer than their own.
    """
    path = find_data(data)
    if data in KNOWN_CORPORA or not data:
        return None
    if os.path.isdir(path) and is_shards(path):
        if validation is not None:
            raise UserError(f"{data} has validation shards of its own: it takes no other validation text.")
        shards = open_shards(path)
        if choice.directory is not None and fingerprint(choice.directory) != fingerprint(path):
            raise UserError(
                f"{data} was tokenized with another tokenizer than that of {choice.directory}: tokenize the text with that "
                "one, or leave out the tokenizer."
            )
        return shards
    named = [name for name in (data, validation) if name is not None]
    if not any(must_stream(name) for name in named) and sum(map(files_size, named)) < LARGE:
        return None
    source = find_source(data, validation)
    return tokenize(source, cache(f"{source.identity}\n{choice.identity}"), choice)


def cache(identity: str) -> Path:
    """Return the directory for the shards of a text and a tokenizer, in the user's cache."""
    return (
        data_folders()[-1]
        / "shards"
        / hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:KEY_LENGTH]
    )
