"""Self-attention: how a position gathers from those before it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from folio.model.cache import Context
from folio.model.config import GPTConfig
from folio.model.linear import Linear, fused
from folio.model.norm import NORMS
from folio.model.positions import POSITIONS


class Attention(nn.Module):
    """Causal multi-head self-attention, softmax(q k^T / sqrt(D)) v (Vaswani et al., 2017).

    Several query heads may share one key and value head (Ainslie et al., 2023), and queries and keys may be
    normalised (Henry et al., 2020).
    """

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_size = config.head_size
        self.dropout = config.dropout
        self.is_grouped = config.n_kv_head < config.n_head
        self.query = Linear(config.n_embd, config.n_head * config.head_size, bias=config.bias)
        self.key = Linear(config.n_embd, config.n_kv_head * config.head_size, bias=config.bias)
        self.value = Linear(config.n_embd, config.n_kv_head * config.head_size, bias=config.bias)
        self.output = Linear(config.n_head * config.head_size, config.n_embd, bias=config.bias)
        self.query_norm = NORMS[config.qk_norm](config.head_size, eps=config.norm_eps)
        self.key_norm = NORMS[config.qk_norm](config.head_size, eps=config.norm_eps)
        self.rotate: Callable[[Tensor, Any], Tensor] = POSITIONS[config.position].rotate

    def forward(self, x: Tensor, angles: object, context: Context | None, mask: Tensor | None) -> Tensor:
        """x: (B, T, C) -> (B, T, C). Without a context and a mask every position sees itself and what is before it."""
        B, T, _ = x.shape
        q, k, v = self.project(x, angles)
        attention = partial(
            F.scaled_dot_product_attention,
            dropout_p=self.dropout if self.training else 0.0,
            enable_gqa=self.is_grouped,
        )
        y: Tensor = (
            attention(q, k, v, attn_mask=mask, is_causal=mask is None)
            if context is None
            else context.attend(self.layer, q, k, v, mask, attention)
        )
        y = y.transpose(1, 2).reshape(B, T, -1)  # (B, H, T, D) -> (B, T, H * D)
        out: Tensor = self.output(y)  # (B, T, C)
        return out

    def project(self, x: Tensor, angles: object) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, the first two normalised and turned: what attention is computed from.

        x: (B, T, C). Returns (B, H, T, D) and twice (B, H_kv, T, D).
        """
        B, T, _ = x.shape
        q, k, v = (
            part.view(B, T, -1, self.head_size) for part in fused((self.query, self.key, self.value), x)
        )
        q = self.rotate(self.query_norm(q), angles).transpose(1, 2)  # (B, T, H, D) -> (B, H, T, D)
        k = self.rotate(self.key_norm(k), angles).transpose(1, 2)
        return q, k, v.transpose(1, 2)
