"""Show conversations as a model is trained on them: their tokens, and which of these count in the loss.

Of a directory of token shards, check all checksums, and show what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from random import Random

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from folio.config import Count, Seed, Settings, Source
from folio.data.characters import require_known
from folio.data.conversations import Conversation, Example, pack, texts_of, tokenize_all
from folio.data.corpora import find_data
from folio.data.known import find_conversations
from folio.data.shards import is_shards, open_shards
from folio.errors import UserError
from folio.log import make_console
from folio.model.directory import read_config as read_model_config
from folio.report.shards import shards_in_words
from folio.report.tables import show_table
from folio.runs.flags import read_config
from folio.runs.load import read_model
from folio.tokenizer.directory import load_tokenizer
from folio.tokenizer.protocol import Tokenizer

TRAINED, GIVEN = "bold green", "dim"
OPEN, CLOSE = "⟦", "⟧"
"""Marks around trained tokens where there are no colors."""
BEGINNING = 400
"""Characters of a document that are shown."""


@dataclass(frozen=True, kw_only=True)
class ShowConfig(Settings):
    """Settings of `folio data show`."""

    data: tyro.conf.Positional[tuple[Source, ...]]
    """Conversations as for folio sft, one or several: a file, a folder, OWNER/NAME:SUBSET:SPLIT on the Hugging Face Hub, shakespeare,
    arithmetic or gsm8k; or a directory of token shards."""
    run: Path = Path("runs/shakespeare")
    """Model whose tokenizer and context are used: a run, a checkpoint in it, or any model directory."""
    validation: Source | None = None
    """Validation conversations; by default the files of a folder that are named so, or else a tenth of the data."""
    num: Count = 3
    """Number of conversations to show."""
    seed: Seed | None = None
    """Sample conversations with this seed; by default the first ones are shown."""


def main(arguments: Sequence[str]) -> None:
    """Run `folio data show FILE --run RUN [flags]`."""
    command, *flags = arguments or ["--help"]
    if command in ("-h", "--help"):
        flags = ["--help"]
    elif command != "show":
        raise UserError(f"unknown command {command!r}. Usage: folio data show FILE --run RUN.")
    show(flags)


def show(arguments: Sequence[str]) -> None:
    """Print some conversations as `folio sft` trains on them, and statistics of all."""
    config = read_config(ShowConfig, arguments, recipe=None, prog="folio data show", description=__doc__)
    console = make_console()
    if len(config.data) == 1 and is_shards(path := find_data(config.data[0])):
        show_shards(path, config.num, console)
        return
    conversations = find_conversations(config.data, config.validation)
    block_size, tokenizer = read_model(
        config.run, lambda directory: (read_model_config(directory).block_size, load_tokenizer(directory))
    )
    tokenizer = tokenizer.with_chat_tokens()  # as folio sft, which adds those that are missing
    require_known(tokenizer, texts_of((*conversations.train, *conversations.validation)))
    parts = {"train": conversations.train, "validation": conversations.validation}
    examples = {name: tokenize_all(tokenizer, part, block_size) for name, part in parts.items()}
    pairs = [pair for name in parts for pair in zip(parts[name], examples[name], strict=True)]
    numbers = select(len(pairs), config.num, config.seed)
    console.print(conversations.origin, soft_wrap=True)
    console.print(explanation(config, len(numbers), len(pairs), has_colors(console)), soft_wrap=True)
    for number in numbers:
        conversation, example = pairs[number]
        console.print()
        part = "" if number < len(conversations.train) else ", validation"
        heading = f"Conversation {number + 1:,} ({conversation.where}){part}"
        console.print(Text(heading, "bold"), soft_wrap=True)
        console.print(Text(facts(conversation, example, tokenizer, block_size)), soft_wrap=True)
        if example is not None:
            console.print(marked(example, tokenizer, has_colors(console)), soft_wrap=True)
    console.print()
    console.print(summary({name: statistics(part, tokenizer, block_size) for name, part in examples.items()}))


def show_shards(directory: Path, n: int, console: Console) -> None:
    """Check token shards, and print what is in them and the beginnings of their first n documents."""
    shards = open_shards(directory)
    shards.check()
    show_table({**shards_in_words(shards), "checksums": "as in index.json"}, console)
    for number, text in enumerate(shards.documents(n), start=1):
        console.print()
        console.print(Text(f"Document {number:,}", "bold"))
        console.print(visible(text[:BEGINNING]) + ("..." if len(text) > BEGINNING else ""), soft_wrap=True)


def select(total: int, n: int, seed: int | None) -> list[int]:
    """Return the first n of `total` indices, or n sampled with a seed, in order."""
    n = min(n, total)
    return list(range(n)) if seed is None else sorted(Random(seed).sample(range(total), n))


def has_colors(console: Console) -> bool:
    """Return whether colors can mark trained tokens."""
    return console.color_system is not None and not console.no_color


def explanation(config: ShowConfig, n_shown: int, total: int, in_colors: bool) -> Text:
    """Return a line on the choice of conversations and the meaning of the marks."""
    which = (
        "the first; --seed 1 samples others" if config.seed is None else f"sampled with seed {config.seed}"
    )
    marks = f"between {OPEN} and {CLOSE}" if not in_colors else "green"
    return Text.assemble(
        f"{n_shown:,} of {total:,} conversations, {which}.\nTrained tokens are ",
        (marks, TRAINED),
        ", the others are context. ↵ is a newline in the text.",
    )


def facts(conversation: Conversation, example: Example | None, tokenizer: Tokenizer, block_size: int) -> str:
    """Return the length of an example, and what was cut from it."""
    if example is None:
        return f"left out: its first answer does not fit into {block_size:,} tokens"
    n_turns = count_turns(example, tokenizer)
    if n_turns == len(conversation):
        missing = ""
    elif example.is_cut:
        missing = (
            f"; cut after turn {n_turns} of {len(conversation)}, as the context is {block_size:,} tokens"
        )
    else:
        missing = f"; turn {len(conversation)} has no answer and is left out"
    return f"{len(example.ids):,} tokens, {int(example.weights.sum()):,} trained{missing}"


def count_turns(example: Example, tokenizer: Tokenizer) -> int:
    """Return the number of turns in an example."""
    return int((example.ids == tokenizer.special_ids["<|end|>"]).sum())


def marked(example: Example, tokenizer: Tokenizer, in_colors: bool) -> Text:
    """Return an example as text, a line for each turn, with trained tokens in color or between marks."""
    text = Text()
    for piece, is_role, is_trained in pieces(example, tokenizer):
        if is_role and text:
            text.append("\n")
        if in_colors:
            text.append(piece, TRAINED if is_trained else GIVEN)
        else:
            text.append(f"{OPEN}{piece}{CLOSE}" if is_trained else piece)
    return text


def pieces(example: Example, tokenizer: Tokenizer) -> Iterator[tuple[str, bool, bool]]:
    """Yield spans of tokens of equal weight: the text, whether it is a turn's role, and whether it is trained."""
    roles = {tokenizer.special_ids[name] for name in ("<|user|>", "<|assistant|>")}
    tokens = zip(example.ids.tolist(), example.weights.tolist(), strict=True)
    for (is_role, is_trained), group in groupby(tokens, key=lambda pair: (pair[0] in roles, pair[1] > 0)):
        yield visible(tokenizer.decode(token for token, _ in group)), is_role, is_trained


def visible(text: str) -> str:
    """Return text with newlines marked, and other unprintable characters, such as terminal commands, escaped."""
    return "".join(
        "↵\n" if sign == "\n" else sign if sign.isprintable() else sign.encode("unicode_escape").decode()
        for sign in text
    )


def statistics(examples: Sequence[Example | None], tokenizer: Tokenizer, block_size: int) -> dict[str, str]:
    """Return statistics of examples and of the rows that they are packed into for training."""
    kept = [example for example in examples if example is not None]
    lengths = np.array([len(example.ids) for example in kept])
    n_trained = sum(float(example.weights.sum()) for example in kept)
    n_rows = len(pack(kept, block_size, tokenizer.special_ids["<|pad|>"]))
    return {
        "conversations": f"{len(examples):,}",
        "turns": f"{sum(count_turns(example, tokenizer) for example in kept):,}",
        "cut": f"{sum(example.is_cut for example in kept):,}",
        "left out": f"{len(examples) - len(kept):,}",
        "tokens": f"{lengths.sum():,}",
        "trained": f"{n_trained / lengths.sum():.1%}",
        "longest": f"{lengths.max():,}",
        f"rows of {block_size:,}": f"{n_rows:,}",
        "filled": f"{(lengths - 1).sum() / (n_rows * block_size):.1%}",
    }


def summary(columns: dict[str, dict[str, str]]) -> Table:
    """Return a table with a column for each part of the data."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    for _ in columns:
        table.add_column(justify="right")
    table.add_row("", *columns, style="bold")
    for name in next(iter(columns.values())):
        table.add_row(name, *(column[name] for column in columns.values()))
    return table
