"""Feed-forward layers, by name: where each position computes on its own."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from folio.model.config import GPTConfig
from folio.model.linear import BIASES, Linear, fused


class GELUMLP(nn.Module):
    """Widen, GELU (tanh approximation, as in GPT-2; Hendrycks & Gimpel, 2016), narrow. (B, T, C) -> (B, T, C)."""

    approximate = "tanh"

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        bias = "mlp" in BIASES[config.bias]
        self.up = Linear(config.n_embd, config.mlp_size, bias=bias)
        self.down = Linear(config.mlp_size, config.n_embd, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(F.gelu(self.up(x), approximate=self.approximate))
        return y


class ExactGELUMLP(GELUMLP):
    """The same with GELU itself, x times the normal distribution's function of x, instead of its approximation."""

    approximate = "none"


class SwiGLU(nn.Module):
    """Widen twice, one through SiLU as a gate of the other, narrow (Shazeer, 2020). (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        bias = "mlp" in BIASES[config.bias]
        self.gate = Linear(config.n_embd, config.mlp_size, bias=bias)
        self.up = Linear(config.n_embd, config.mlp_size, bias=bias)
        self.down = Linear(config.mlp_size, config.n_embd, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = fused((self.gate, self.up), x)
        y: Tensor = self.down(F.silu(gate) * up)
        return y


MLPS = {"gelu": GELUMLP, "gelu_exact": ExactGELUMLP, "swiglu": SwiGLU}
"""By `GPTConfig.mlp`. inference/fused.py has a table with the same keys."""
