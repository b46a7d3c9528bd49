"""The language model: token ids in, logits for the next token out."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from folio.model.config import GPTConfig
from folio.model.context import Context
from folio.model.linear import Linear
from folio.model.transformer import Transformer

Decoder = Literal["auto", "compiled", "torch"]


class GPT(Transformer):
    """A transformer with a language-model head."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.decoder: Decoder = "auto"
        """What writes tokens: "compiled", a function in C; "torch"; or "auto", the first where it can be had. See `Runtime`."""
        self.head = Linear(config.n_embd, config.vocab_size, bias=False)
        self.tie_weights()
        self.init_weights()

    def tie_weights(self) -> None:
        """Make the head and the embedding one parameter, where the config says so."""
        if self.config.tied_embeddings:
            self.head.weight = self.embedding.weight

    @torch.no_grad()
    def init_weights(self) -> None:
        """Set the initial weights.

        | weights                     | start             | why                                              |
        |-----------------------------|-------------------|--------------------------------------------------|
        | embedding (and learned pos.)| N(0, 1)           | the scale at which blocks read and write         |
        | the same, tied to the head  | N(0, 0.02)        | as a head it must give small scores (GPT-2)      |
        | query key value gate up     | N(0, 1/sqrt(C))   | keeps the scale of a normalized input            |
        | output down                 | 0                 | each block starts as the identity (Zhang 2019)   |
        | head, unless tied           | 0                 | every token equally likely: loss starts at ln V  |
        | norms                       | 1 (bias 0)        |                                                  |
        | biases                      | 0                 |                                                  |
        """
        embedding_std = 0.02 if self.config.tied_embeddings else 1.0
        for name, parameter in self.named_parameters():
            part = name.split(".")[-2]
            if parameter.ndim == 1:
                parameter.fill_(1.0 if part.endswith("norm") and name.endswith("weight") else 0.0)
            elif part in ("output", "down", "head"):
                parameter.zero_()
            else:
                nn.init.normal_(
                    parameter, std=embedding_std if part == "embedding" else self.config.n_embd**-0.5
                )

    def forward(self, ids: Tensor, context: Context | None = None) -> Tensor:
        """Return logits for the token after each position. ids: (B, T) int64 -> (B, T, V).

        context: see `hidden_states`.
        """
        logits: Tensor = self.head(self.hidden_states(ids, context))
        return logits

    def flops_per_token(self, length: int) -> int:
        """Return the floating-point operations per token of one training step, forward and backward.

        length: T, the sequence length. 6 for every weight in a matrix product, and in each layer 12 H D T for the
        attention scores and their use, of which causality needs half: 6 H D T. Chowdhery et al. (2022, appendix B)
        count the whole, and so report a higher utilization.
        """
        matrices = sum(p.numel() for p in self.blocks.parameters() if p.ndim == 2) + self.head.weight.numel()
        attention = self.config.n_layer * self.config.n_head * self.config.head_size * length
        return 6 * matrices + 6 * attention
