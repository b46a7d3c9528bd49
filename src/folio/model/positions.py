"""Position encodings, by name.

Each has two methods: `forward` may change the embedded tokens, and returns the angles that attention needs; `rotate`
rotates queries and keys by those angles.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from folio.model.config import GPTConfig, RopeScaling


class LearnedPositions(nn.Module):
    """A learned vector for each position, added to the token's (GPT-2)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.block_size, config.n_embd)

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, None]:
        """x: (B, T, C); positions: (T) or (B, T). Returns (B, T, C) and no angles."""
        return x + self.embedding(positions).to(x.dtype), None

    @staticmethod
    def rotate(x: Tensor, angles: None) -> Tensor:
        """Return x unchanged."""
        return x


class RotaryPositions(nn.Module):
    """Rotate queries and keys by an angle proportional to the position, so that their product depends on the distance
    alone (Su et al., 2021). Dimension i is paired with i + D/2, as in Llama's released weights."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        powers = torch.arange(0, config.head_size, 2, dtype=torch.float32) / config.head_size
        frequencies = config.rope_theta**-powers
        if config.rope_scaling is not None:
            frequencies = _scaled(frequencies, config.rope_scaling)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.frequencies: Tensor

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x: (B, T, C); positions: (T) or (B, T). Returns x and cos, sin of (..., T, 1, D/2)."""
        angles = (positions[..., None].float() * self.frequencies).unsqueeze(-2)
        return x, (angles.cos(), angles.sin())

    @staticmethod
    def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """Rotate queries or keys. x: (B, T, H, D)."""
        cos, sin = angles
        left, right = x.float().chunk(2, dim=-1)
        return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1).to(x.dtype)


def _scaled(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Return (D/2) frequencies, in radians per token, as `RopeScaling` changes them."""
    turns = scaling.original_block_size * frequencies / (2 * math.pi)
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = kept.clamp(0, 1)
    return frequencies * (kept + (1 - kept) / scaling.factor)


POSITIONS: dict[str, type[LearnedPositions] | type[RotaryPositions]] = {
    "learned": LearnedPositions,
    "rotary": RotaryPositions,
}
"""By `GPTConfig.position`. inference/fused.py has a table with the same keys."""
