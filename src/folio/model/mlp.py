"""Feed-forward layers, by name: where each position computes on its own."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from folio.model.config import GPTConfig
from folio.model.linear import Linear, fused


class GELUMLP(nn.Module):
    """Widen, GELU (tanh approximation, as in GPT-2; Hendrycks & Gimpel, 2016), narrow. (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.up = Linear(config.n_embd, config.mlp_size, bias=config.bias)
        self.down = Linear(config.mlp_size, config.n_embd, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(F.gelu(self.up(x), approximate="tanh"))
        return y


class SwiGLU(nn.Module):
    """Widen twice, one through SiLU as a gate of the other, narrow (Shazeer, 2020). (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gate = Linear(config.n_embd, config.mlp_size, bias=config.bias)
        self.up = Linear(config.n_embd, config.mlp_size, bias=config.bias)
        self.down = Linear(config.mlp_size, config.n_embd, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = fused((self.gate, self.up), x)
        y: Tensor = self.down(F.silu(gate) * up)
        return y


MLPS = {"gelu": GELUMLP, "swiglu": SwiGLU}
"""By `GPTConfig.mlp`. inference/fused.py has a table with the same keys."""
