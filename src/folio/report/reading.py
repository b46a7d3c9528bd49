"""A model's predictions and attention on a text, in a form that can be displayed."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from rich.cells import cell_len

from folio.errors import UserError
from folio.inference.heads import HeadStatistics, check_head, head_statistics, without_heads
from folio.inference.inspection import Inspection, inspect, logprobs
from folio.inference.lens import LogitLens, logit_lens
from folio.inference.neighbors import Neighbors, nearest_tokens
from folio.log import format_count
from folio.model.architectures import architecture_of
from folio.model.config import GPTConfig
from folio.model.gpt import GPT
from folio.notices import notify
from folio.runs.assistants import Chat, takes_question
from folio.runs.load import load_for_inference
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.chat_template import prompt_ids
from folio.tokenizer.special_tokens import SPECIAL_TOKENS

Item = TypeVar("Item")

BOS = "<|bos|>"
SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥", BOS: "▷", "<|user|>": "◇", "<|assistant|>": "◆", "<|end|>": "■"}
"""Visible signs of one column for invisible tokens, and for the long names of those that are read."""
MEANINGS = {" ": "space", "\n": "line end", "\t": "tab"}
"""What a sign stands for, where the token does not say it itself."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

MAX_NATS = 6.0
"""Loss at the red end of the color scale, a probability of 1 in 400."""
MAP_POSITIONS = 48
"""Maximum number of positions in an attention map."""
N_NEIGHBORS = 3

Stops = Sequence[tuple[int, int, int]]
DARK_TO_BRIGHT: Stops = ((38, 26, 66), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
CALM_TO_RED: Stops = ((226, 236, 240), (254, 224, 144), (244, 109, 67), (200, 20, 30))
"""RGB colors, 0 to 255, evenly spaced along a scale."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A model's reading of a text. Lists with an entry per token begin with `<|bos|>` if the model read one."""

    name: str
    """The model's path as given by the user."""
    network: GPT
    layer: int
    head: int
    without: Sequence[tuple[int, int]] = ()
    """Heads to compare without: pairs of layer and head."""
    vocabulary: Sequence[str]
    """The token of each id: (V)."""
    inspection: Inspection

    @property
    def model(self) -> GPTConfig:
        """The model's sizes and parts."""
        return self.network.config

    @cached_property
    def ids(self) -> list[int]:
        """Ids of the tokens that were read: (T)."""
        return self.inspection.ids.tolist()

    @cached_property
    def tokens(self) -> list[str]:
        """The tokens as text: (T)."""
        return [self.vocabulary[i] for i in self.ids]

    @cached_property
    def signs(self) -> list[str]:
        """The tokens as visible signs: (T)."""
        return [visible(token) for token in self.tokens]

    @cached_property
    def letters(self) -> list[str]:
        """The tokens as visible signs, except that spaces stay spaces: (T)."""
        return [" " if token == " " else sign for token, sign in zip(self.tokens, self.signs, strict=True)]

    @cached_property
    def losses(self) -> list[float]:
        """Loss of each token in nats: (T). The first one, which nothing predicts, has NaN."""
        return [math.nan, *self.inspection.losses.tolist()]

    @cached_property
    def losses_without(self) -> list[float]:
        """Loss of each token, as `losses`, with the heads of `without` switched off: (T)."""
        if len(self.ids) < 2:
            return [math.nan]
        with without_heads(self.network, self.without):
            return [math.nan, *(-logprobs(self.network, self.ids)).tolist()]

    @cached_property
    def heads(self) -> HeadStatistics:
        """Where each head of each layer looks: (L, H)."""
        return head_statistics(self.network, self.ids)

    @cached_property
    def lens(self) -> LogitLens:
        """What the model would predict if it stopped after each layer."""
        return logit_lens(self.network, self.ids)

    @cached_property
    def neighbors(self) -> Neighbors:
        """The nearest tokens of each distinct token in the embedding."""
        return nearest_tokens(self.network, self.ids, N_NEIGHBORS)

    def attention(self, first: int) -> list[list[float]]:
        """Return the attention weights of the chosen layer and head among the positions from `first` on."""
        return self.inspection.attention[self.head, first:, first:].tolist()

    @property
    def shape(self) -> str:
        """The architecture and size of the model as text."""
        layers, heads = format_count(self.model.n_layer, "layer"), format_count(self.model.n_head, "head")
        kind = architecture_of(self.model).model_type
        return f"{kind}, {layers} of {heads}, context {self.model.block_size}"

    @property
    def choice(self) -> str:
        """The available layers and heads, as flags."""
        return f"--layer 0 to {self.model.n_layer - 1}, --head 0 to {self.model.n_head - 1}"

    @property
    def legend(self) -> str:
        """The meaning of the signs that occur."""
        return legend_of(self.tokens)

    @property
    def summary(self) -> str:
        """Mean loss and perplexity."""
        if len(self.ids) < 2:
            return "the first character has no loss: nothing precedes it"
        mean = self.inspection.losses.mean()
        return f"mean {mean:.2f} nats, perplexity {mean.exp():.1f}"

    def lines(self, width: int) -> Iterator[list[int]]:
        """Yield the positions of each line of the text, without `<|bos|>`, wrapped after `width` columns."""
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

    def cut_note(self, first: int) -> str:
        """Return a note that only the positions from `first` on are shown, or "" if that is all."""
        return f" (the last {len(self.ids) - first} of {len(self.ids)} positions)" if first else ""

    def expected(self, position: int, n: int) -> list[tuple[str, float]]:
        """Return the n most likely tokens after a position, as signs or special tokens' names, with their probabilities."""
        probabilities, ids = self.inspection.logprobs[position].exp().topk(min(n, len(self.vocabulary)))
        tokens = [self.vocabulary[i] for i in ids.tolist()]
        signs = [token if token in SPECIAL_TOKENS else visible(token) for token in tokens]
        return list(zip(signs, probabilities.tolist(), strict=True))

    def most_changed(self, n: int) -> list[int]:
        """Return the positions of the n tokens whose losses change most without the heads of `without`."""
        changes = torch.tensor(self.losses_without[1:]) - torch.tensor(self.losses[1:])
        return (changes.abs().topk(min(n, len(changes))).indices + 1).tolist()

    def surprises(self, n: int) -> list[int]:
        """Return the positions of the n tokens with the highest losses, highest first."""
        highest = self.inspection.losses.topk(min(n, len(self.ids) - 1)).indices
        return (highest + 1).tolist()


def read_text(
    path: Path,
    text: str,
    *,
    chat: Chat = "auto",
    layer: int | None,
    head: int,
    without: Sequence[tuple[int, int]] = (),
    device: torch.device,
) -> Reading:
    """Run the model at `path` on a text.

    An assistant reads a question, in its chat template; `chat` says when. Of other models, `<|bos|>` is prepended so that
    the first character has a loss, that of a character at the beginning of a line. (`folio sample` prepends none to a
    prompt; later predictions hardly differ.) A model whose training text had no newlines was never trained on `<|bos|>`,
    so it is given none. Only the last block_size tokens are read; what is dropped is reported on stderr.

    layer: the last one if None. without: heads that a comparison switches off; the reading itself is with them. Raises
    UserError if the model, the layer or a head does not exist, if tokens are longer than a character, or if the model
    knows none of the characters.
    """
    model, tokenizer = load_for_inference(path)
    if not isinstance(tokenizer, CharTokenizer):
        raise UserError(
            f"{path} has tokens of several characters: folio explain supports character models only."
        )
    layer = model.config.n_layer - 1 if layer is None else layer
    check_heads(model, layer, head, without, path)
    known = known_text(tokenizer, text, path)
    if takes_question(path, tokenizer, chat):
        opening, ids = [], prompt_ids(tokenizer, [{"role": "user", "content": known}])
    else:
        is_trained = bool(tokenizer.drop_unknown("\n")[0])
        opening, ids = [tokenizer.special_ids[BOS]] * is_trained, tokenizer.encode(known).tolist()
    block_size = model.config.block_size
    if len(ids) > block_size:
        notify(
            f"{path} reads {format_count(block_size, tokenizer.unit)} at most: only the last {block_size} of "
            f"{len(ids)} are shown."
        )
    return Reading(
        name=str(path),
        network=model.to(device),
        layer=layer,
        head=head,
        without=without,
        vocabulary=[*tokenizer.characters, *SPECIAL_TOKENS],
        inspection=inspect(model, torch.tensor([*opening, *ids][-block_size:]), layer),
    )


def check_heads(model: GPT, layer: int, head: int, without: Sequence[tuple[int, int]], path: Path) -> None:
    """Raise UserError for a layer or a head that the model at `path` does not have."""
    for name, number, count in (("layer", layer, model.config.n_layer), ("head", head, model.config.n_head)):
        if not 0 <= number < count:
            raise UserError(f"{name} is {number}: {path} has {name}s 0 to {count - 1}.")
    for pair in without:
        try:
            check_head(model, *pair)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def known_text(tokenizer: CharTokenizer, text: str, path: Path) -> str:
    """Return the characters that a model knows, and report the others on stderr.

    Raises UserError if none is left.
    """
    known, dropped = tokenizer.drop_unknown(text)
    if not known:
        raise UserError(
            f"{path} has never seen any of these characters: give it a text like the one it was trained on."
        )
    if dropped:
        notify(f"{path} has never seen {', '.join(map(repr, dropped))}; left out of the text.")
    return known


def visible(token: str) -> str:
    """Return a token as a visible sign; one without a sign of its own is itself."""
    if token in SIGNS:
        return SIGNS[token]
    if not token.isprintable():
        return REPLACEMENT
    return token if cell_len(token) else "◌" + token


def legend_of(tokens: Collection[str]) -> str:
    """Return the meaning of the signs of tokens."""
    return "   ".join(f"{SIGNS[token]} {MEANINGS.get(token, token)}" for token in SIGNS if token in tokens)


def percent(probability: float) -> str:
    """Format a probability in percent with one decimal, small ones as "<0.1%"."""
    return f"{probability:.1%}" if probability >= 0.001 else "<0.1%"


def longest_bar(readings: Sequence[Reading]) -> float:
    """Return the highest next-token probability of all readings, the common scale of their bars."""
    return max(reading.expected(-1, 1)[0][1] for reading in readings)


def rows_of(items: Sequence[Item], n: int) -> list[Sequence[Item]]:
    """Split items into rows of n."""
    return [items[first : first + n] for first in range(0, len(items), n)]
