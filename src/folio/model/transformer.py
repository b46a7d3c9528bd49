"""The body of every model: token ids in, a vector for each position out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from folio.model.block import Block
from folio.model.cache import Context
from folio.model.config import GPTConfig
from folio.model.norm import NORMS
from folio.model.positions import POSITIONS
from folio.model.segments import segment_mask, segment_positions


class Transformer(nn.Module):
    """A decoder-only transformer without a head. Which one is decided by its `GPTConfig`.

    What is made of it adds a head: `GPT` scores tokens, `ScoreModel` the text.
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
        """Make one of parameters that are to be shared, after their storage was replaced."""

    def hidden(self, ids: Tensor, context: Context | None = None, segments: Tensor | None = None) -> Tensor:
        """The normalised residual stream at the top. ids: (B, T) -> (B, T, C).

        context: where tokens see something else than what is before them in their row. Those that are read with a
        `KVCache` continue what it holds, and are added to it; `Branches` are answers behind shared prompts.
        segments: (B, T) int64, where a row holds several texts: which one each token is of. Positions begin anew in
        each, and none sees another.
        """
        n_new = ids.shape[1]
        mask: Tensor | None
        if context is not None:
            positions, mask = context.positions(n_new), context.mask(n_new)
        elif segments is not None:
            positions, mask = segment_positions(segments), segment_mask(segments)
        else:
            positions, mask = torch.arange(n_new, device=ids.device), None
        x: Tensor = self.embedding(ids).to(self.compute_dtype)  # (B, T) -> (B, T, C)
        x, angles = self.positions(x, positions)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, angles, context, mask)
        if context is not None:
            context.advance(n_new)
        top: Tensor = self.norm(x)
        return top

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
