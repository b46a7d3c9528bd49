"""The configuration of a GPT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import annotated_types as bounds

from folio.config import Positive, Settings
from folio.errors import UserError

Depth = Annotated[int, bounds.Ge(1), bounds.Le(1_000)]
Width = Annotated[int, bounds.Ge(1), bounds.Le(2**20)]
Length = Annotated[int, bounds.Ge(1), bounds.Le(2**24)]


@dataclass(frozen=True, kw_only=True)
class RopeScaling(Settings):
    """How Llama 3.1 makes rotary positions fit a longer context (Grattafiori et al., 2024, section 3.4.2).

    What turns fewer than low_freq_factor times within the context of old turns `factor` times slower; what turns more than
    high_freq_factor times stays; between them the change is gradual. Raises UserError where that has no meaning.
    """

    factor: Positive
    low_freq_factor: Positive
    high_freq_factor: Positive
    original_block_size: Length
    """The context of old, in tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low_freq_factor < self.high_freq_factor:
            raise UserError(
                f"low_freq_factor is {self.low_freq_factor}: it must be below high_freq_factor, {self.high_freq_factor}."
            )


@dataclass(frozen=True, kw_only=True)
class GPTConfig(Settings):
    """Sizes and parts of a decoder-only transformer. The default parts are those of Qwen3.

    Sizes have upper bounds, far above those of any published model (126 layers, width 16,384, contexts of 10 million
    tokens): a larger number is a damaged file or a slip, and would ask for more memory than can be addressed.

    The parts in `ARCHITECTURES` (model/architectures.py) make it GPT-2 (Radford et al., 2019), Llama (Touvron et al.,
    2023; Grattafiori et al., 2024), Mistral (Jiang et al., 2023), Qwen2 (Yang et al., 2024) or Qwen3 (dense; Yang et al.,
    2025).

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
    rope_theta: Annotated[float, bounds.Ge(1), bounds.Le(10**12)] = 10_000.0
    """Base of the rotary wavelengths (Su et al., 2021)."""
    rope_scaling: RopeScaling | None = None
    """Rotary positions for a context that was made longer after training."""
    mlp: Literal["swiglu", "gelu", "gelu_exact"] = "swiglu"
    qk_norm: Literal["rms_norm", "none"] = "rms_norm"
    bias: Literal["none", "qkv", "attention", "all"] = "none"
    """Which linear layers in the blocks have a bias: those of queries, keys and values, all of attention, or all."""
    tied_embeddings: bool = False
    """Whether the head shares the token embedding's weights (Press & Wolf, 2017)."""

    def __post_init__(self) -> None:
        self._fill_in("n_kv_head", self.n_head)
        self._fill_in("head_size", self.n_embd // max(1, self.n_head))
        self._fill_in("mlp_size", 8 * self.n_embd // 3 if self.mlp == "swiglu" else 4 * self.n_embd)
        super().__post_init__()
        for name, hint in get_type_hints(GPTConfig).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                raise UserError(
                    f"{name} is {getattr(self, name)!r}: it must be {' or '.join(map(repr, get_args(hint)))}."
                )
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
