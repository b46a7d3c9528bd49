"""Which token comes next: from scores to a draw, reproducible row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypedDict

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from torch import Tensor

from folio.config import Count, Decay, Factor, Settings
from folio.hashing import hash64, uniform

GREEDY = 1e-9
"""At temperatures below, all other tokens have probability 0: two scores of float32 that differ at all do so by more than
a million times this, or neither is the highest."""


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Settings):
    """How to draw each token from the model's scores."""

    temperature: Annotated[float, Ge(0), Le(10**6)] = 1.0
    """Divides the scores: below 1 likely tokens get likelier, above 1 less so; 0 always takes the likeliest."""
    top_k: Count | None = None
    """Draw from the k likeliest tokens only."""
    top_p: Annotated[float, Gt(0), Le(1)] = 1.0
    """Draw from the fewest tokens that together have this probability (nucleus; Holtzman et al., 2020)."""
    min_p: Decay = 0.0
    """Draw from tokens at least this fraction as likely as the likeliest (Nguyen et al., 2024)."""
    repetition_penalty: Factor = 1.0
    """Above 1, tokens that the row has already seen become less likely (CTRL; Keskar et al., 2019)."""

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature < GREEDY


class SamplingKeywords(TypedDict, total=False):
    """The settings of a `SamplingConfig` as keywords of a function."""

    temperature: float
    """Divides the scores; 0 always takes the likeliest token."""
    top_k: int | None
    """Draw from the k likeliest tokens only."""
    top_p: float
    """Draw from the fewest tokens that together have this probability."""
    min_p: float
    """Draw from tokens at least this fraction as likely as the likeliest."""
    repetition_penalty: float
    """Above 1, tokens that the text already has become less likely."""


class Sampler:
    """Turn a batch's scores into one token a row, and the log-probability that it had.

    config:      how to draw.
    seed:        any integer, taken modulo 2**64. The draw of a row's t-th token depends on seed, row and t alone:
                 what a row gives does not depend on the rows beside it (except where rounding, which differs a
                 little from one batch size to another, tips a draw).
    prompts:     token ids that each row has seen; one prompt a row.
    vocab_size:  only ids below it are drawn.
    """

    def __init__(
        self,
        config: SamplingConfig,
        seed: int,
        prompts: Sequence[Sequence[int]],
        vocab_size: int,
        device: torch.device,
    ) -> None:
        self._temperature = 1.0 if config.is_greedy else config.temperature
        self._penalty = config.repetition_penalty
        self._vocab_size = vocab_size
        self._seen = _seen(prompts, vocab_size, device) if config.repetition_penalty != 1 else None
        self._candidates = _candidates(config, vocab_size)
        self._filters = _filters(config)
        self._draws = Draws(hash64(seed, np.arange(len(prompts))), device)

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a token for each row.

        logits: (B, V) of any precision. Returns tokens (B) int64 and logprobs (B) float32. A token's log-probability
        is that under the model at the given temperature (1 if greedy), before penalty, top_k, top_p and min_p:
        log pi(token) of the policy that reinforcement learning improves.
        """
        logits = logits.float()
        if self._temperature != 1:
            logits = logits / self._temperature
        logprobs = logits.log_softmax(-1)
        tokens = self._pick(logits[:, : self._vocab_size])
        if self._seen is not None:
            self._seen.scatter_(1, tokens, True)
        return tokens[:, 0], logprobs.gather(1, tokens)[:, 0]

    def select_rows(self, rows: Tensor) -> None:
        """Continue with these rows alone. rows: (n) int64."""
        self._seen = None if self._seen is None else self._seen[rows]
        self._draws.select_rows(rows)

    def _truncated(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the scores of tokens that may be drawn, -inf for others, and their ids (None: 0, 1, ..., V-1)."""
        if self._seen is not None:
            # The temperature is positive, so it does not matter that it has been applied before.
            penalized = torch.where(logits > 0, logits / self._penalty, logits * self._penalty)
            logits = torch.where(self._seen, penalized, logits)
        scores, ids = self._candidates(logits)
        for rule_out in self._filters:
            scores = rule_out(scores)
        return scores, ids

    def _pick(self, logits: Tensor) -> Tensor:
        """Draw a token for each row: (B, V) -> (B, 1)."""
        scores, ids = self._truncated(logits)
        # The first token at which the cumulative probability reaches a share u of the whole, 0 < u <= 1: it
        # exists, and it is none of probability 0, whatever rounding does.
        cumulative = scores.softmax(-1).cumsum(-1)
        at = torch.searchsorted(cumulative, cumulative[:, -1:] * self._draws.next())
        return at if ids is None else ids.gather(1, at)


class Draws:
    """Uniform numbers in (0, 1]: that of a row's t-th token is a function of the row's key and t.

    keys: (B), one for each row, such as a hash of a seed and of the row's number.
    """

    BLOCK = 64
    """Columns computed at once, for each computation has a fixed cost."""

    def __init__(self, keys: NDArray[np.uint64], device: torch.device) -> None:
        self._keys = keys
        self._positions = np.zeros(len(keys), dtype=np.int64)
        """(B) of the first number of the next block."""
        self._device = device
        self._block = torch.empty(len(keys), 0, device=device)
        """(B, columns) not yet used."""

    def next(self) -> Tensor:
        """Return the numbers of the next tokens: (B, 1)."""
        if not self._block.shape[1]:
            block = uniform(self._keys[:, None], self._positions[:, None] + np.arange(self.BLOCK))
            self._block = torch.from_numpy(block).to(self._device)
            self._positions += self.BLOCK
        drawn, self._block = self._block[:, :1], self._block[:, 1:]
        return drawn

    def select_rows(self, rows: Tensor) -> None:
        """Continue with these rows alone. rows: (n) int64."""
        places = rows.cpu().numpy()
        self._keys, self._positions = self._keys[places], self._positions[places]
        self._block = self._block[rows]


Candidates = Callable[[Tensor], tuple[Tensor, Tensor | None]]


def _candidates(config: SamplingConfig, vocab_size: int) -> Candidates:
    """Return what chooses the tokens to look at: the likeliest first where a filter needs that order."""
    if config.is_greedy:
        return lambda logits: _pair(logits.max(-1, keepdim=True))
    if config.top_k is None and config.top_p == 1 and config.min_p == 0:
        return lambda logits: (logits, None)
    k = min(config.top_k or vocab_size, vocab_size)
    return lambda logits: _pair(logits.topk(k))


def _pair(best: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    scores, ids = best
    return scores, ids


def _filters(config: SamplingConfig) -> list[Callable[[Tensor], Tensor]]:
    """Return what rules out candidates: (B, K) scores, the highest first -> the same with -inf where ruled out."""
    filters: list[Callable[[Tensor], Tensor]] = []
    if config.top_p < 1:
        filters.append(lambda scores: _nucleus(scores, config.top_p))
    if config.min_p > 0:
        margin = math.log(config.min_p)
        filters.append(lambda scores: scores.masked_fill(scores < scores[:, :1] + margin, -torch.inf))
    return filters


def _nucleus(scores: Tensor, top_p: float) -> Tensor:
    probabilities = scores.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    ruled_out = before >= top_p
    ruled_out[:, 0] = False  # the likeliest always stays
    return scores.masked_fill(ruled_out, -torch.inf)


def _seen(prompts: Sequence[Sequence[int]], vocab_size: int, device: torch.device) -> Tensor:
    """Return whether each token is in a row's prompt: (B, V) bool."""
    seen = torch.zeros(len(prompts), vocab_size, dtype=torch.bool)
    for row, prompt in zip(seen, prompts, strict=True):
        row[torch.as_tensor(prompt, dtype=torch.int64)] = True
    return seen.to(device)
