"""What the page shows of a model's inside, as JSON: surprise, the next token's distribution, attention, the logit lens."""

from __future__ import annotations

import base64
import codecs
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from folio.errors import UserError
from folio.inference.heads import HeadStatistics, check_head, head_statistics, last_attention, without_heads
from folio.inference.inspection import inspect
from folio.inference.lens import logit_lens
from folio.model.gpt import GPT
from folio.server.vocabulary import Vocabulary

WHOLE = 1024
"""Distributions over at most so many tokens are told whole."""
COVERED, MOST = 0.999, 8192
"""Of larger ones the likeliest that together have this probability, at most so many; the page treats the rest as equals."""
LENS_TOKENS = 5
DIGITS = 5


@dataclass(frozen=True, kw_only=True)
class Look:
    """A look at a model as it reads tokens and predicts one of them.

    ids:       (T) what it reads.
    position:  the token that it predicts, 1 to T; T is the one that would follow.
    head:      the (layer, head) of which the whole map is wanted, or None.
    heads_off: (layer, head) pairs that are switched off for the look.
    """

    model: GPT
    vocabulary: Vocabulary
    ids: Sequence[int]
    position: int
    head: tuple[int, int] | None = None
    heads_off: Sequence[tuple[int, int]] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.position <= len(self.ids):
            raise UserError(
                f"position is {self.position}: of {len(self.ids)} tokens, 1 to {len(self.ids)} are predicted."
            )
        if self.head is not None:
            check_head(self.model, *self.head)

    @property
    def before(self) -> Sequence[int]:
        """What the model has read when it predicts the token: (position)."""
        return self.ids[: self.position]

    @property
    def actual(self) -> int | None:
        """The token that did follow, or None where none has yet."""
        return self.ids[self.position] if self.position < len(self.ids) else None

    @cached_property
    def logprobs(self) -> Tensor:
        """ln p of every token to come next, for each position: (T, V). V leaves out what is no token."""
        return inspect(self.model, list(self.ids), 0).logprobs[:, : len(self.vocabulary.bytes)]

    def take(self, parts: Iterable[str]) -> dict[str, object]:
        """Return the parts by name. Raises UserError for one that does not exist, or where the model cannot read the ids."""
        wanted = list(dict.fromkeys(parts))
        for name in wanted:
            if name not in PARTS:
                raise UserError(f"there is no part {name!r}: there are {', '.join(PARTS)}.")
        with ExitStack() as stack:
            if self.heads_off:
                stack.enter_context(without_heads(self.model, self.heads_off))
            return {name: PARTS[name](self) for name in wanted}


def tokens(vocabulary: Vocabulary, ids: Iterable[int]) -> dict[str, list[object]]:
    """Return tokens for display: their ids, their names, and whether each is a special one."""
    listed = [int(token) for token in ids]
    return {
        "ids": list(listed),
        "pieces": [vocabulary.name(token) for token in listed],
        "special": [token in vocabulary.special for token in listed],
    }


def running_text(vocabulary: Vocabulary, ids: Sequence[int]) -> dict[str, list[object]]:
    """Return tokens as `tokens` does, but in place of names the text that each completes: joined, it is that of all.

    Where several tokens make a character, the last of them has it, and the others are empty.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    told = tokens(vocabulary, ids)
    for number, token in enumerate(ids):
        if 0 <= token < len(vocabulary.bytes) and token not in vocabulary.special:
            told["pieces"][number] = decoder.decode(vocabulary.bytes[token])
        else:
            decoder.reset()
    return told


def surprise(look: Look) -> dict[str, object]:
    """Return -ln p in nats of every token, None for the first, which nothing predicts."""
    following = torch.tensor(look.ids[1:], dtype=torch.int64)
    inside = following < look.logprobs.shape[1]  # an id that is no token has no probability here
    chosen = look.logprobs[:-1].gather(1, following.clamp(max=look.logprobs.shape[1] - 1)[:, None]).squeeze(1)
    nats = (-chosen).where(inside, torch.inf)
    return {**running_text(look.vocabulary, look.ids), "nats": [None, *rounded(nats)]}


def distribution(look: Look) -> dict[str, object]:
    """Return the tokens that may come next, the likeliest first, with ln p, and what the ones left out have together."""
    logprobs = look.logprobs[look.position - 1]
    V = len(logprobs)
    best, ids = logprobs.sort(descending=True, stable=True)
    if V > WHOLE:
        covered = int((best.exp().cumsum(-1) < COVERED * best.exp().sum()).sum()) + 1
        best, ids = best[: min(covered, MOST)], ids[: min(covered, MOST)]
    left = max(0.0, float(logprobs.exp().sum() - best.exp().sum()))
    return {
        **tokens(look.vocabulary, ids.tolist()),
        "logprobs": rounded(best),
        "left": {"n": V - len(best), "mass": left if len(best) < V else 0.0},
        "actual": look.actual,
    }


def attention(look: Look) -> dict[str, object]:
    """Return where every head looks as the token is predicted, and where it looks on average.

    weights: (L, H, position) in 65,535ths, packed (see `packed`).
    """
    statistics = head_statistics(look.model, list(look.before))
    return {
        "shape": [look.model.config.n_layer, look.model.config.n_head, look.position],
        "weights": packed(last_attention(look.model, list(look.before))),
        "looks": {
            each.name: [rounded(row) for row in getattr(statistics, each.name)]
            for each in fields(HeadStatistics)
        },
    }


def head_map(look: Look) -> dict[str, object]:
    """Return all weights of one head, from each position to each: (T, T), packed (see `packed`)."""
    if look.head is None:
        raise UserError("name the head of the map: head is [layer, head].")
    layer, head = look.head
    return {
        "size": len(look.ids),
        "weights": packed(inspect(look.model, list(look.ids), layer).attention[head]),
    }


def lens(look: Look) -> dict[str, object]:
    """Return what would come next if the model stopped after each layer, from the embedding alone to the whole model."""
    found = logit_lens(look.model, list(look.before))
    logprobs = found.logprobs[:, : len(look.vocabulary.bytes)]
    rows = []
    for row, losses in zip(logprobs, found.losses, strict=True):
        best, ids = row.topk(min(LENS_TOKENS, len(row)))
        told: dict[str, object] = {**tokens(look.vocabulary, ids.tolist()), "logprobs": rounded(best)}
        told["loss"] = round(float(losses.mean()), DIGITS) if len(losses) else None
        if look.actual is not None and look.actual < len(row):
            told["actual"] = {
                "logprob": finite(float(row[look.actual])),
                "rank": int((row > row[look.actual]).sum()) + 1,
            }
        rows.append(told)
    return {"rows": rows}


PARTS: dict[str, Callable[[Look], dict[str, object]]] = {
    "surprise": surprise,
    "distribution": distribution,
    "attention": attention,
    "map": head_map,
    "lens": lens,
}
"""What a look may return."""


def rounded(numbers: Tensor) -> list[float | None]:
    """Return numbers short enough to send; None for NaN, and what no number holds at its nearest."""
    return [finite(number) for number in numbers.tolist()]


def finite(number: float) -> float | None:
    """Return a number of JSON: None for NaN, 9999 for infinity."""
    return None if math.isnan(number) else round(max(-9999.0, min(9999.0, number)), DIGITS)


def packed(weights: Tensor) -> str:
    """Return weights from 0 to 1, in 65,535ths, as little-endian numbers of two bytes in base 64."""
    return base64.b64encode((weights * 65_535).round().numpy().astype(np.dtype("<u2")).tobytes()).decode()
