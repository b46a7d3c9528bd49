"""Train tokenizers, look at them, and compare how many bytes of a text their tokens stand for.

folio tokenizer train books/ --out tokenizers/books --vocab-size 8192 --digits 2
folio tokenizer show tokenizers/books --text "In 1984, 12 cats."
folio tokenizer compare tokenizers/books gpt2/ --data mine.txt
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import annotated_types as bounds
import tyro

from folio.config import Count, Few, Many, Settings, Source
from folio.data.corpora import find_data
from folio.data.streams import find_source
from folio.data.tokenizing import SAMPLE, survey
from folio.errors import UserError
from folio.files import write_directory
from folio.log import make_console
from folio.report.tables import show_next, show_table
from folio.runs.flags import read_config
from folio.tokenizer.bpe import BPETokenizer, Split
from folio.tokenizer.directory import fingerprint, load_tokenizer
from folio.tokenizer.pieces import encode_long
from folio.tokenizer.protocol import Tokenizer

GPT2 = "tokenizer/gpt2"
"""Where GPT-2's tokenizer is looked for below the data folders, to compare with."""
SHOWN = 20
"""Tokens that are listed."""
TEXT = "In 1984, the internationalization of 12 cats wasn't naïve: 3.14159 😀"


@dataclass(frozen=True, kw_only=True)
class TokenizerTrainConfig(Settings):
    """Settings of `folio tokenizer train`."""

    data: tyro.conf.Positional[Source]
    """A text, as for folio tokenize."""
    out: Path | None = None
    """Directory for the tokenizer."""
    vocab_size: Many = 4096
    """Maximum number of tokens, those of the chat template included."""
    digits: Annotated[int, bounds.Ge(1), bounds.Le(3)] = 2
    """Most digits in a token: with 1, numbers are spelled; with 3, as in GPT-4, they are short, and take a thousand tokens."""
    longest_word: Few = 32
    """Most letters, or other signs, in a token."""
    sample: Count = SAMPLE
    """Characters to learn from, at most: pieces of the documents, chosen by their hash."""


@dataclass(frozen=True, kw_only=True)
class TokenizerShowConfig(Settings):
    """Settings of `folio tokenizer show`."""

    tokenizer: tyro.conf.Positional[Path]
    """A directory with a tokenizer: one of folio tokenizer train, token shards, or any model directory."""
    text: str = TEXT
    """A text, to see its tokens."""


@dataclass(frozen=True, kw_only=True)
class TokenizerCompareConfig(Settings):
    """Settings of `folio tokenizer compare`."""

    tokenizers: tyro.conf.Positional[tuple[Path, ...]]
    """Directories with tokenizers. GPT-2's is compared too where the data folders have it, as tokenizer/gpt2."""
    data: Source | None = None
    """A text, as for folio tokenize."""
    sample: Count = 2**21
    """Characters to compare on, at most: pieces of the documents, chosen by their hash."""


def main(arguments: Sequence[str]) -> None:
    """Run `folio tokenizer train | show | compare ... [flags]`."""
    command, *flags = arguments or ["--help"]
    if command in ("-h", "--help"):
        for each in COMMANDS.values():
            with suppress(SystemExit):
                each(["--help"])
        raise SystemExit(0)
    if command not in COMMANDS:
        raise UserError(f"unknown command {command!r}: use folio tokenizer {' | '.join(COMMANDS)}.")
    COMMANDS[command](flags)


def train(arguments: Sequence[str]) -> None:
    """Train a byte-level BPE tokenizer on a sample of a text."""
    config = read_config(
        TokenizerTrainConfig, arguments, recipe=None, prog="folio tokenizer train", description=train.__doc__
    )
    if config.out is None:
        raise UserError(
            "name a directory for the tokenizer, as in folio tokenizer train DATA --out tokenizers/mine."
        )
    if os.path.isdir(config.out) and os.listdir(config.out):
        raise UserError(f"{config.out} is not empty: name another directory.")
    sample = survey(find_source(config.data), sample=config.sample).sample
    tokenizer = BPETokenizer.train(sample, config.vocab_size, Split(config.digits, config.longest_word))
    write_directory(config.out, tokenizer.save)
    console = make_console()
    show_table(facts(config.out, tokenizer), console)
    show_next(
        [
            f"folio tokenizer compare {config.out} --data {config.data}",
            f"folio tokenize {config.data} --tokenizer {config.out} --out shards/{config.out.name}",
        ],
        console,
    )


def show(arguments: Sequence[str]) -> None:
    """Show what a tokenizer is, its longest tokens, and how it cuts a text."""
    config = read_config(
        TokenizerShowConfig, arguments, recipe=None, prog="folio tokenizer show", description=show.__doc__
    )
    tokenizer = load_tokenizer(config.tokenizer)
    known, unknown = tokenizer.drop_unknown(config.text)
    ids = tokenizer.encode(known).tolist()
    tokens = {i: tokenizer.decode([i]) for i in range(tokenizer.vocab_size)}
    words = (text for i, text in tokens.items() if i not in tokenizer.special_ids.values())
    longest = sorted((text for text in words if not text.isspace()), key=len, reverse=True)[:SHOWN]
    lines = {
        **facts(config.tokenizer, tokenizer),
        "longest": " ".join(map(repr, longest)),
        "text": config.text,
        "tokens": f"{len(ids)}: " + " ".join(repr(tokens[i]) for i in ids),
    }
    show_table(lines | ({"unknown": repr(unknown)} if unknown else {}), make_console())


def compare(arguments: Sequence[str]) -> None:
    """Compare how many bytes of a text a token stands for, and how fast a text is tokenized."""
    config = read_config(
        TokenizerCompareConfig,
        arguments,
        recipe=None,
        prog="folio tokenizer compare",
        description=compare.__doc__,
    )
    if config.data is None:
        raise UserError("name a text to compare on, as in folio tokenizer compare TOKENIZER --data mine.txt.")
    gpt2 = find_data(GPT2)
    directories = [*config.tokenizers, *([gpt2] if os.path.isdir(gpt2) else [])]
    if not directories:
        raise UserError(
            "name tokenizers to compare, as in folio tokenizer compare TOKENIZER --data mine.txt."
        )
    tokenizers = {str(directory): load_tokenizer(directory) for directory in dict.fromkeys(directories)}
    sample = survey(find_source(config.data), sample=config.sample).sample
    console = make_console()
    n_bytes = sum(len(text.encode()) for text in sample)
    console.print(f"{n_bytes / 1e6:.1f} MB of {config.data}", soft_wrap=True)
    show_table({name: measured(tokenizer, sample) for name, tokenizer in tokenizers.items()}, console)


COMMANDS: Mapping[str, Callable[[Sequence[str]], None]] = {"train": train, "show": show, "compare": compare}


def facts(directory: Path, tokenizer: Tokenizer) -> dict[str, str]:
    """Return what a tokenizer is, in words."""
    special = ", ".join(tokenizer.special_ids) or "none"
    return {
        "tokenizer": str(directory),
        "vocabulary": f"{tokenizer.vocab_size:,}, a {tokenizer.unit} each; special tokens: {special}",
        "fingerprint": fingerprint(directory),
    }


def measured(tokenizer: Tokenizer, texts: Sequence[str]) -> str:
    """Return the bytes per token of texts, and the speed, in words."""
    known = [tokenizer.drop_unknown(text)[0] for text in texts]
    start = time.perf_counter()
    n_tokens = sum(len(encode_long(tokenizer, text)) for text in known)
    seconds = time.perf_counter() - start
    n_bytes = sum(len(text.encode()) for text in known)
    n_left_out = sum(map(len, texts)) - sum(map(len, known))
    left_out = f"; {n_left_out:,} characters left out, which it does not know" if n_left_out else ""
    return (
        f"{n_bytes / max(1, n_tokens):.3f} bytes per token, vocabulary of {tokenizer.vocab_size:,}, "
        f"{n_bytes / 1e6 / seconds:.1f} MB/s{left_out}"
    )
