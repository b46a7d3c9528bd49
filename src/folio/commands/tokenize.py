"""Tokenize a text of any size once, into token shards that folio pretrain reads from the disk.

    folio tokenize books/ --out shards/books
    folio pretrain --data shards/books

Interrupted, it goes on where it was when it is started again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from folio.config import Few, Many, Settings, Source
from folio.data.streams import find_source
from folio.data.tokenizing import tokenize
from folio.errors import UserError
from folio.log import make_console
from folio.report.shards import shards_in_words
from folio.report.tables import show_next, show_table
from folio.runs.flags import read_config
from folio.tokenizer.choice import TokenizerChoice


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig(Settings):
    """Settings of `folio tokenize`."""

    data: tyro.conf.Positional[Source]
    """A text: a .txt or .md file, .jsonl, .json, .csv or .parquet with a `text` in each row, also as .gz or .zst, or a folder of
    them; or a dataset of the Hugging Face Hub, as OWNER/NAME:SUBSET:SPLIT."""
    out: Path | None = None
    """Directory for the shards."""
    validation: Source | None = None
    """Validation text, in the same form; by default the files of a folder that are named so, or else a share of the documents by
    their hash, or else, where there are fewer than a hundred, the last tenth of the text."""
    tokenizer: Source = "bpe"
    """Tokens are pieces of words (bpe, byte-level), learned from a sample of the documents, or characters (char), or those of a
    directory that has a tokenizer."""
    vocab_size: Many = 4096
    """Maximum vocabulary size of bpe."""
    processes: Few | None = None
    """Processes that tokenize; by default one for each processor. The shards are the same with any number."""


def main(arguments: Sequence[str]) -> None:
    """Run `folio tokenize DATA --out DIR [flags]`."""
    config = read_config(TokenizeConfig, arguments, recipe=None, prog="folio tokenize", description=__doc__)
    if config.out is None:
        raise UserError("name a directory for the shards, as in folio tokenize DATA --out shards/mine.")
    console = make_console()
    choice = TokenizerChoice(config.tokenizer, config.vocab_size)
    source = find_source(config.data, config.validation)
    shards = tokenize(source, config.out, choice, processes=config.processes)
    show_table(shards_in_words(shards), console)
    show_next([f"folio pretrain --data {config.out}", f"folio data show {config.out}"], console)
