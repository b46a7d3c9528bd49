"""A transformer block: communicate, then compute."""

from __future__ import annotations

from torch import Tensor, nn

from folio.model.attention import Attention
from folio.model.config import GPTConfig
from folio.model.context import Context
from folio.model.mlp import MLPS
from folio.model.norm import NORMS


class Block(nn.Module):
    """Attention, then a feed-forward layer; each reads a normalized copy of the residual stream and is added to it
    (pre-norm; Xiong et al., 2020)."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = NORMS[config.norm](config.n_embd, eps=config.norm_eps)
        self.attention = Attention(config, layer)
        self.mlp_norm = NORMS[config.norm](config.n_embd, eps=config.norm_eps)
        self.mlp = MLPS[config.mlp](config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, angles: object, context: Context) -> Tensor:
        """x: (B, T, C) -> (B, T, C)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), angles, context))
        y: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return y
