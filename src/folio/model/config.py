"""The configuration of a GPT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import annotated_types as bounds

from folio.config import Positive, Settings
from folio.errors import UserError

Depth = Annotated[int, bounds.Ge(1), bounds.Le(1_000)]
Width = Annotated[int, bounds.Ge(1), bounds.Le(2**20)]
Length = Annotated[int, bounds.Ge(1), bounds.Le(2**24)]


@dataclass(frozen=True, kw_only=True)
class GPTConfig(Settings):
    """Sizes and parts of a decoder-only transformer. The default parts are those of Qwen3.

    Sizes have upper bounds, far above those of any published model (126 layers, width 16,384, contexts of 10 million
    tokens): a larger number is a damaged file or a slip, and would ask for more memory than can be addressed.

    The parts in `ARCHITECTURES` (model/architectures.py) make it GPT-2 (Radford et al., 2019), Llama (Touvron et al.,
    2023) or Qwen3 (dense; Yang et al., 2025).

    Raises UserError where sizes are invalid or inconsistent.
    """

    vocab_size: Length
    """Number of tokens in the vocabulary (V)."""
    block_size: Length = 256
    """Longest context, in tokens (T)."""
    n_layer: Depth = 6
    """Number of transformer blocks (L)."""
    n_head: Width = 3
    """Query heads per attention layer (H)."""
    n_kv_head: Width = 0
    """Key and value heads (H_kv), by default n_head; with fewer, query heads share them (grouped-query attention)."""
    n_embd: Width = 192
    """Width of the residual stream (C)."""
    head_size: Width = 0
    """Width of one head (D), by default n_embd / n_head."""
    mlp_size: Width = 0
    """Inner width of the feed-forward layer, by default 4 C, or 8/3 C with a gate: 8 C^2 weights in both."""
    dropout: Annotated[float, bounds.Ge(0), bounds.Lt(1)] = 0.0
    """Dropout probability of embeddings and of what each layer adds to the residual stream, in training."""

    norm: Literal["rms_norm", "layer_norm"] = "rms_norm"
    norm_eps: Positive = 1e-6
    position: Literal["rotary", "learned"] = "rotary"
    rope_theta: Positive = 10_000.0
    """Base of the rotary wavelengths (Su et al., 2021)."""
    mlp: Literal["swiglu", "gelu"] = "swiglu"
    qk_norm: Literal["rms_norm", "none"] = "rms_norm"
    bias: bool = False
    """Whether linear layers in the blocks have a bias."""
    tied_embeddings: bool = False
    """Whether the head shares the token embedding's weights (Press & Wolf, 2017)."""

    def __post_init__(self) -> None:
        self._fill_in("n_kv_head", self.n_head)
        self._fill_in("head_size", self.n_embd // max(1, self.n_head))
        self._fill_in("mlp_size", 4 * self.n_embd if self.mlp == "gelu" else 8 * self.n_embd // 3)
        super().__post_init__()
        if self.n_head % self.n_kv_head:
            raise UserError(f"n_head ({self.n_head}) must be a multiple of n_kv_head ({self.n_kv_head}).")
        if self.position == "rotary" and self.head_size % 2:
            raise UserError(
                f"head_size is {self.head_size}: rotary positions rotate pairs, so it must be even."
            )

    def _fill_in(self, name: str, value: int) -> None:
        """Set a size that was left at 0. Only during construction: afterwards a config is frozen."""
        if not getattr(self, name):
            object.__setattr__(self, name, value)
