"""A text as one model reads it, in words and numbers that can be shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from rich.cells import cell_len

from folio.errors import UserError
from folio.inference.inspection import Inspection, inspect
from folio.log import tell
from folio.model.architectures import architecture_of
from folio.model.config import GPTConfig
from folio.runs.load import load_for_inference
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.special_tokens import SPECIAL_TOKENS

Item = TypeVar("Item")

BOS = "<|bos|>"
SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥", BOS: "▷"}
"""What stands for a token that leaves no mark."""
MEANINGS = {" ": "space", "\n": "line end", "\t": "tab", BOS: BOS}
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

MANY_NATS = 6.0
"""The loss from which on a character is quite red: the model gave it one chance in 400."""
MAP_POSITIONS = 48
"""Most positions in a map of attention: more are too many to look at."""

Stops = Sequence[tuple[int, int, int]]
DARK_TO_BRIGHT: Stops = ((38, 26, 66), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
CALM_TO_RED: Stops = ((226, 236, 240), (254, 224, 144), (244, 109, 67), (200, 20, 30))
"""Red, green and blue, 0 to 255, along a scale."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a model makes of a text. A list with one entry a token begins with `<|bos|>`, if that was read."""

    name: str
    """The path that a person gave."""
    model: GPTConfig
    layer: int
    head: int
    vocabulary: Sequence[str]
    """The token of each id: (V)."""
    inspection: Inspection

    @cached_property
    def ids(self) -> list[int]:
        """What was read: (T)."""
        return self.inspection.ids.tolist()

    @cached_property
    def tokens(self) -> list[str]:
        """The same as text: (T)."""
        return [self.vocabulary[i] for i in self.ids]

    @cached_property
    def signs(self) -> list[str]:
        """The same as single signs that can be seen: (T)."""
        return [visible(token) for token in self.tokens]

    @cached_property
    def letters(self) -> list[str]:
        """The same, for running text: spaces are spaces."""
        return [" " if token == " " else sign for token, sign in zip(self.tokens, self.signs, strict=True)]

    @cached_property
    def losses(self) -> list[float]:
        """Nats: (T). The first token, which nothing predicts, has NaN."""
        return [math.nan, *self.inspection.losses.tolist()]

    def attention(self, first: int) -> list[list[float]]:
        """In the chosen layer and head, how much each position takes from each: those from `first` on alone."""
        return self.inspection.attention[self.head, first:, first:].tolist()

    @property
    def shape(self) -> str:
        """What kind of model this is."""
        layers, heads = counted(self.model.n_layer, "layer"), counted(self.model.n_head, "head")
        kind = architecture_of(self.model).model_type
        return f"{kind}, {layers} of {heads}, context {self.model.block_size}"

    @property
    def choice(self) -> str:
        """Which attention can be asked for."""
        return f"--layer 0 to {self.model.n_layer - 1}, --head 0 to {self.model.n_head - 1}"

    @property
    def legend(self) -> str:
        """What the signs mean that stand for something else."""
        return "   ".join(f"{SIGNS[token]} {MEANINGS[token]}" for token in SIGNS if token in self.tokens)

    @property
    def summary(self) -> str:
        """The mean of the losses, and the number of equally likely characters that is as hard to guess from."""
        if len(self.ids) < 2:
            return "nothing stands before this character to expect it from"
        mean = self.inspection.losses.mean()
        return f"mean {mean:.2f} nats, perplexity {mean.exp():.1f}"

    def lines(self, width: int) -> Iterator[list[int]]:
        """The positions of the text in lines as it has them, cut after `width` columns; `<|bos|>` is no text."""
        line: list[int] = []
        for position, token in enumerate(self.tokens):
            if token == BOS:
                continue
            if sum(cell_len(self.letters[i]) for i in [*line, position]) > width:
                yield line
                line = []
            line.append(position)
            if token == "\n":
                yield line
                line = []
        if line:
            yield line

    def cut(self, first: int) -> str:
        """What to say where only the positions from `first` on are shown."""
        return f" (the last {len(self.ids) - first} of {len(self.ids)} positions)" if first else ""

    def expected(self, position: int, n: int) -> list[tuple[str, float]]:
        """The n likeliest tokens to follow a position, as signs, with their probabilities."""
        probabilities, ids = self.inspection.logprobs[position].exp().topk(min(n, len(self.vocabulary)))
        signs = [visible(self.vocabulary[i]) for i in ids.tolist()]
        return list(zip(signs, probabilities.tolist(), strict=True))

    def surprises(self, n: int) -> list[int]:
        """The positions of the n tokens with the highest losses, the highest first."""
        highest = self.inspection.losses.topk(min(n, len(self.ids) - 1)).indices
        return (highest + 1).tolist()


def read_text(path: Path, text: str, *, layer: int | None, head: int, device: torch.device) -> Reading:
    """Let the model at `path` read a text.

    `<|bos|>` is put before it, so that the first character has a loss as well: what the model expects at the
    beginning of a line. (`folio sample` puts none before a prompt. With it, what is expected later on is a
    little better and almost the same.) A model whose text had no line ends never met `<|bos|>`, and is given
    none. The model reads its last block_size tokens of all this; what is left out is told on stderr.

    layer: the last one if None. Raises UserError where the model, the layer or the head does not exist, where
    a token is more than a character, and where no character is left.
    """
    model, tokenizer = load_for_inference(path)
    if not isinstance(tokenizer, CharTokenizer):
        raise UserError(
            f"{path} reads tokens of several characters: folio explain shows models of single characters only."
        )
    layer = model.config.n_layer - 1 if layer is None else layer
    for name, number, count in (("layer", layer, model.config.n_layer), ("head", head, model.config.n_head)):
        if not 0 <= number < count:
            raise UserError(f"{name} is {number}: {path} has {name}s 0 to {count - 1}.")
    ids = known_ids(tokenizer, text, path)
    block_size = model.config.block_size
    if len(ids) > block_size:
        tell(
            f"{path} reads {block_size} characters at most: only the last {block_size} of {len(ids)} are shown."
        )
    if tokenizer.drop_unknown("\n")[0]:
        ids.insert(0, tokenizer.special_ids[BOS])
    return Reading(
        name=str(path),
        model=model.config,
        layer=layer,
        head=head,
        vocabulary=[*tokenizer.characters, *SPECIAL_TOKENS],
        inspection=inspect(model.to(device), torch.tensor(ids[-block_size:]), layer),
    )


def known_ids(tokenizer: CharTokenizer, text: str, path: Path) -> list[int]:
    """The ids of the characters that a model knows; the others are told on stderr. Raises UserError if none is left."""
    known, dropped = tokenizer.drop_unknown(text)
    if not known:
        raise UserError(
            f"{path} has never seen any of these characters: give it a text like the one it was trained on."
        )
    if dropped:
        tell(f"{path} has never seen {', '.join(map(repr, dropped))}; left out of the text.")
    return tokenizer.encode(known).tolist()


def counted(number: int, name: str) -> str:
    """1 layer, 2 layers."""
    return f"{number} {name}" + ("" if number == 1 else "s")


def visible(token: str) -> str:
    """A token as one sign that has a width: special ones but `<|bos|>` keep their names."""
    if token in SIGNS:
        return SIGNS[token]
    if not token.isprintable():
        return REPLACEMENT
    return token if cell_len(token) else "◌" + token


def percent(probability: float) -> str:
    """In tenths of a percent, where a little is not nothing."""
    return f"{probability:.1%}" if probability >= 0.001 else "<0.1%"


def longest_bar(readings: Sequence[Reading]) -> float:
    """The highest probability for what comes next: bars of that length in all readings, so that they compare."""
    return max(reading.expected(-1, 1)[0][1] for reading in readings)


def rows_of(items: Sequence[Item], n: int) -> list[Sequence[Item]]:
    """The items in rows of n."""
    return [items[first : first + n] for first in range(0, len(items), n)]
