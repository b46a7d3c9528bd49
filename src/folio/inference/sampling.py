"""Which token comes next: from scores to a draw, row by row reproducible."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from folio.errors import UserError


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How to draw from a model's scores. The defaults draw from the model's own distribution.

    Raises UserError for a value outside its range.
    """

    temperature: float = 1.0
    """Scores are divided by it: below 1 likely tokens get likelier, above 1 less so; 0 always takes the best."""
    top_k: int | None = None
    """Draw from the k likeliest tokens only."""
    top_p: float = 1.0
    """Draw from the fewest tokens that together have this probability (nucleus; Holtzman et al., 2020)."""
    min_p: float = 0.0
    """Draw from tokens at least this fraction as likely as the likeliest (Nguyen et al., 2024)."""
    repetition_penalty: float = 1.0
    """Above 1, tokens that the row has already seen become less likely (CTRL; Keskar et al., 2019)."""

    def __post_init__(self) -> None:
        k, penalty = self.top_k, self.repetition_penalty
        # Each condition says what is right, so that NaN, which compares as false, is wrong.
        for name, is_right, allowed in (
            (
                "temperature",
                0 <= self.temperature < math.inf,
                "at least 0 (0 always takes the likeliest token)",
            ),
            ("top_k", k is None or k >= 1, "at least 1, or left out"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("min_p", 0 <= self.min_p < 1, "at least 0 and below 1"),
            ("repetition_penalty", 0 < penalty < math.inf, "above 0 (1 changes nothing)"),
        ):
            if not is_right:
                raise UserError(f"{name} is {getattr(self, name)}: it must be {allowed}.")


class Sampler:
    """Turns a batch's scores into one token a row, and the log-probability that it had.

    config:      how to draw.
    seed:        0 or more. Row i draws from its own generator, seeded with (seed, i): what it gives does not
                 depend on the rows beside it (except where rounding, which does differ a little from one
                 batch size to another, tips a draw).
    prompts:     token ids that each row has seen; one prompt a row.
    vocab_size:  V.
    """

    def __init__(
        self,
        config: SamplingConfig,
        seed: int,
        prompts: Sequence[Sequence[int]],
        vocab_size: int,
        device: torch.device,
    ) -> None:
        self._temperature = config.temperature or 1.0
        self._penalty = config.repetition_penalty
        self._seen = _seen(prompts, vocab_size, device) if config.repetition_penalty != 1 else None
        self._candidates = _candidates(config, vocab_size)
        self._filters = _filters(config)
        self._draws = _Draws(seed, len(prompts), device)

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """logits: (B, V) of any precision. Returns tokens (B) int64 and logprobs (B) float32.

        A token's log-probability is that under the model at the given temperature (1 if that is 0), before
        penalty, top_k, top_p and min_p: log pi(token) of the policy that reinforcement learning improves.
        """
        logits = logits.float()
        if self._temperature != 1:
            logits = logits / self._temperature
        logprobs = logits.log_softmax(-1)
        tokens = self._pick(logits)
        if self._seen is not None:
            self._seen.scatter_(1, tokens, True)
        return tokens[:, 0], logprobs.gather(1, tokens)[:, 0]

    def distribution(self, logits: Tensor) -> Tensor:
        """What a token is drawn from. logits: (B, V), already divided by the temperature -> (B, V), sums 1."""
        scores, ids = self._truncated(logits)
        weights = scores.softmax(-1)
        return weights if ids is None else torch.zeros_like(logits).scatter_(1, ids, weights)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone. rows: (n) int64."""
        self._seen = None if self._seen is None else self._seen[rows]
        self._draws.keep(rows)

    def _truncated(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores of the tokens that may be drawn, -inf for others, and whose they are (None: 0, 1, ..., V-1)."""
        if self._seen is not None:
            # The temperature is positive, so it does not matter that it has been applied before.
            penalised = torch.where(logits > 0, logits / self._penalty, logits * self._penalty)
            logits = torch.where(self._seen, penalised, logits)
        scores, ids = self._candidates(logits)
        for keep in self._filters:
            scores = keep(scores)
        return scores, ids

    def _pick(self, logits: Tensor) -> Tensor:
        """(B, V) -> (B, 1)."""
        scores, ids = self._truncated(logits)
        # The first token at which the cumulative probability reaches a share u of the whole, 0 < u <= 1: it
        # exists, and it is none of probability 0, whatever rounding does.
        cumulative = scores.softmax(-1).cumsum(-1)
        at = torch.searchsorted(cumulative, cumulative[:, -1:] * self._draws.next())
        return at if ids is None else ids.gather(1, at)


class _Draws:
    """Uniform numbers in (0, 1], a column a step, drawn in blocks because each draw has a fixed cost."""

    BLOCK = 64

    def __init__(self, seed: int, n_rows: int, device: torch.device) -> None:
        self.generators = [np.random.default_rng((seed, row)) for row in range(n_rows)]
        self.device = device
        self.block = torch.empty(n_rows, 0, device=device)
        """(B, columns) not yet used."""

    def next(self) -> Tensor:
        """(B, 1)."""
        if not self.block.shape[1]:
            block = np.stack([1 - generator.random(self.BLOCK, np.float32) for generator in self.generators])
            self.block = torch.from_numpy(block).to(self.device)
        drawn, self.block = self.block[:, :1], self.block[:, 1:]
        return drawn

    def keep(self, rows: Tensor) -> None:
        self.generators = [self.generators[row] for row in rows.tolist()]
        self.block = self.block[rows]


Candidates = Callable[[Tensor], tuple[Tensor, Tensor | None]]


def _candidates(config: SamplingConfig, vocab_size: int) -> Candidates:
    """Which tokens to look at, and in which order: the likeliest first where a filter needs it."""
    if config.temperature == 0:
        return lambda logits: _pair(logits.max(-1, keepdim=True))
    if config.top_k is None and config.top_p == 1 and config.min_p == 0:
        return lambda logits: (logits, None)
    k = min(config.top_k or vocab_size, vocab_size)
    return lambda logits: _pair(logits.topk(k))


def _pair(best: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    scores, ids = best
    return scores, ids


def _filters(config: SamplingConfig) -> list[Callable[[Tensor], Tensor]]:
    """What rules out candidates: (B, K) scores, the highest first -> the same with -inf where ruled out."""
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
    """(B, V) bool: whether a token stands in a row's prompt."""
    seen = torch.zeros(len(prompts), vocab_size, dtype=torch.bool)
    for row, prompt in zip(seen, prompts, strict=True):
        row[torch.as_tensor(prompt, dtype=torch.int64)] = True
    return seen.to(device)
