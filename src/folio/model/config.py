"""The shape of a GPT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from folio.errors import UserError


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """Sizes and parts of a decoder-only transformer. The default parts are those of Qwen3.

    With `ARCHITECTURES` (model/architectures.py) the same class is GPT-2 (Radford et al., 2019), Llama
    (Touvron et al., 2023) or Qwen3 (dense; Yang et al., 2025).

    Raises UserError where sizes do not fit together.
    """

    vocab_size: int
    """How many different tokens there are (V)."""
    block_size: int = 256
    """The longest context, in tokens (T)."""
    n_layer: int = 6
    """Transformer blocks, one after another."""
    n_head: int = 3
    """Query heads in each attention layer (H)."""
    n_kv_head: int = 3
    """Key and value heads; fewer than n_head share each among several query heads (grouped-query attention)."""
    n_embd: int = 192
    """Width of the residual stream (C)."""
    head_size: int = 64
    """Width of one head (D)."""
    mlp_size: int = 512
    """Width of the feed-forward layer's inside."""
    dropout: float = 0.0
    """Probability of dropping an activation in training."""

    norm: Literal["rms_norm", "layer_norm"] = "rms_norm"
    norm_eps: float = 1e-6
    position: Literal["rotary", "learned"] = "rotary"
    rope_theta: float = 10_000.0
    """Base of the rotary wavelengths (Su et al., 2021)."""
    mlp: Literal["swiglu", "gelu"] = "swiglu"
    qk_norm: Literal["rms_norm", "none"] = "rms_norm"
    bias: bool = False
    """Whether linear layers inside the blocks add a bias."""
    tied_embeddings: bool = False
    """Whether the output head uses the token embedding's weights (Press & Wolf, 2017)."""

    def __post_init__(self) -> None:
        sizes = (
            "vocab_size",
            "block_size",
            "n_layer",
            "n_head",
            "n_kv_head",
            "n_embd",
            "head_size",
            "mlp_size",
        )
        for name in sizes:
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 1.")
        if self.n_head % self.n_kv_head:
            raise UserError(f"n_head ({self.n_head}) must be a multiple of n_kv_head ({self.n_kv_head}).")
        if self.position == "rotary" and self.head_size % 2:
            raise UserError(
                f"head_size is {self.head_size}: rotary positions turn pairs, so it must be even."
            )
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}: it must be at least 0 and below 1.")
