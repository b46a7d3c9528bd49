"""How to continue prompts: how far, with which draws, and where to stop."""

from __future__ import annotations

from dataclasses import dataclass, field

from folio.config import Count, Seed, Settings, Whole
from folio.inference.sampling import SamplingConfig


@dataclass(frozen=True, kw_only=True)
class GenerationConfig(Settings):
    """Settings of a generation."""

    max_new_tokens: Whole
    """Maximum number of tokens to write after each prompt."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """How to draw each token."""
    seed: Seed = 1
    """The same seed gives the same tokens."""
    stop_ids: tuple[int, ...] = ()
    """A row ends with the first of these tokens."""
    vocab_size: Count | None = None
    """Draw ids below it only: embeddings may have more rows than the tokenizer has tokens. None: any of the model's."""
