"""The body of every model: token ids in, a vector for each position out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from folio.model.block import Block
from folio.model.config import GPTConfig
from folio.model.context import CausalContext, Context
from folio.model.norm import NORMS
from folio.model.positions import POSITIONS


class Transformer(nn.Module):
    """A decoder-only transformer without a head; its parts are chosen by the `GPTConfig`.

    Subclasses add a head: `GPT` scores next tokens, `ScoreModel` scores texts.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        """Precision of the residual stream and so of all matrix products; weights stay in float32."""
        self.embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions = POSITIONS[config.position](config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.norm = NORMS[config.norm](config.n_embd, eps=config.norm_eps)

    def tie_weights(self) -> None:
        """Re-tie shared parameters after their storage was replaced. There are none without a head."""

    def hidden_states(self, ids: Tensor, context: Context | None = None) -> Tensor:
        """Return the final hidden states, after the last norm. ids: (B, T) int64 -> (B, T, C).

        context: what each token attends to; by default itself and what is before it in its row.
        """
        if context is None:
            context = CausalContext(ids)
        x: Tensor = self.embedding(ids).to(self.compute_dtype)  # (B, T) -> (B, T, C)
        x, angles = self.positions(x, context.positions)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, angles, context)
        out: Tensor = self.norm(x)
        return out

    @property
    def n_parameters(self) -> int:
        """Number of weights, shared ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters())
