"""How tokens are drawn: the settings of a row. `Sampler` (sampler.py) follows them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, NamedTuple, TypedDict

from annotated_types import Ge, Gt, Le

from folio.config import Count, Decay, Factor, Settings

GREEDY = 1e-9
"""At temperatures below, all other tokens have probability 0: two scores of float32 that differ at all do so by more than
a million times this, or neither is the highest."""
MAX_VOCAB_SIZE = 2**24
"""Of any model (see `GPTConfig`)."""


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


class Kind(NamedTuple):
    """What rows must have in common so that they can be drawn in one operation and still do not depend on each other."""

    is_greedy: bool
    k: int | None
    """Candidates, the likeliest first, at most the vocabulary; None: all, in the order of their ids."""
    vocab_size: int
    """Only ids below it are drawn."""


class Numbers(NamedTuple):
    """What may differ between rows that are drawn in one operation; each has a value that changes nothing."""

    temperature: float = 1.0
    logprob_temperature: float = 1.0
    top_p: float = math.inf
    """Where it is off, no rounding must rule out anything."""
    log_min_p: float = -math.inf
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RowSampling:
    """How the tokens of one row are drawn, and what is reported of them."""

    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """How to draw each token."""
    seed: int = 0
    """Any integer, taken modulo 2**64."""
    choice: int = 0
    """The draw of a row's t-th token is a function of seed, choice and t alone."""
    vocab_size: int | None = None
    """Draw ids below it only. None: any of the model's."""
    presence_penalty: float = 0.0
    """Subtracted from the score of every token that the row has written."""
    frequency_penalty: float = 0.0
    """Subtracted from the score of a token as often as the row has written it."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the scores of these tokens."""
    logprob_temperature: float = 1.0
    """Log-probabilities are reported under softmax(logits / this): 1 for the model's own. Bias, penalties, top_k, top_p and
    min_p have no part in them."""
    top_logprobs: int = 0
    """How many of the likeliest tokens to report with each."""

    @cached_property
    def kind(self) -> Kind:
        """The operation that draws from a row's scores."""
        config, size = self.sampling, MAX_VOCAB_SIZE if self.vocab_size is None else self.vocab_size
        is_whole = config.top_k is None and config.top_p == 1 and config.min_p == 0
        k = None if is_whole or config.is_greedy else min(config.top_k or size, size)
        return Kind(config.is_greedy, k, size)

    @cached_property
    def numbers(self) -> Numbers:
        """The numbers in that operation."""
        config = self.sampling
        return Numbers(
            temperature=1.0 if config.is_greedy else config.temperature,
            logprob_temperature=self.logprob_temperature,
            top_p=config.top_p if config.top_p < 1 else math.inf,
            log_min_p=math.log(config.min_p) if config.min_p else -math.inf,
            repetition_penalty=config.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
        )
