"""Normalization layers, by name."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension, in float32 (Zhang & Sennrich, 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.normalized_shape, self.weight, self.eps).to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last dimension, in float32 (Ba et al., 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps).to(x.dtype)


class NoNorm(nn.Identity):
    """Return the input unchanged."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()


NORMS = {"rms_norm": RMSNorm, "layer_norm": LayerNorm, "none": NoNorm}
"""By `GPTConfig.norm` and `GPTConfig.qk_norm`. inference/fused.py has a table with the same keys."""
