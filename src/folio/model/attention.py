"""Self-attention: where positions exchange information."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from folio.model.config import GPTConfig
from folio.model.context import Context
from folio.model.linear import BIASES, Linear, fused
from folio.model.norm import NORMS
from folio.model.positions import POSITIONS


class Attention(nn.Module):
    """Multi-head self-attention, softmax(q k^T / sqrt(D)) v (Vaswani et al., 2017).

    Query heads may share key and value heads (grouped-query attention; Ainslie et al., 2023), and queries and keys
    may be normalized (Henry et al., 2020). Attention weights are not dropped out: that would rule out the fused
    kernels, and a CPU step would take almost twice as long.
    """

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_size = config.head_size
        biases = BIASES[config.bias]
        self.query = Linear(config.n_embd, config.n_head * config.head_size, bias="qkv" in biases)
        self.key = Linear(config.n_embd, config.n_kv_head * config.head_size, bias="qkv" in biases)
        self.value = Linear(config.n_embd, config.n_kv_head * config.head_size, bias="qkv" in biases)
        self.output = Linear(config.n_head * config.head_size, config.n_embd, bias="output" in biases)
        self.query_norm = NORMS[config.qk_norm](config.head_size, eps=config.norm_eps)
        self.key_norm = NORMS[config.qk_norm](config.head_size, eps=config.norm_eps)
        self.rotate: Callable[[Tensor, Any], Tensor] = POSITIONS[config.position].rotate

    def forward(self, x: Tensor, angles: object, context: Context) -> Tensor:
        """x: (B, T, C) -> (B, T, C). angles: those that `POSITIONS[...].forward` returned."""
        B, T, _ = x.shape
        projected = fused((self.query, self.key, self.value), x)  # each (B, T, heads * D)
        q, k, v = (part.view(B, T, -1, self.head_size) for part in projected)  # (B, T, H or H_kv, D)
        q = self.rotate(self.query_norm(q), angles)
        k = self.rotate(self.key_norm(k), angles)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))  # (B, T, H, D) -> (B, H, T, D)
        y = context.attend(self.layer, q, k, v)
        y = y.transpose(1, 2).reshape(B, T, -1)  # (B, H, T, D) -> (B, T, H * D)
        out: Tensor = self.output(y)  # (B, T, C)
        return out
