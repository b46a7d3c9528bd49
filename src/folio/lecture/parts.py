"""The modules of a GPT; `ladder.py` composes them.

Shapes: batch size B, sequence length T, width C, head size D, vocabulary size V.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LanguageModel(nn.Module):
    """A language model, from token ids to logits of the next token: (B, T) -> (B, T, V)."""

    def __init__(self, embed: nn.Module, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.embed, self.body, self.head = embed, body, head

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.body(self.embed(ids)))


@torch.no_grad()
def generate(model: LanguageModel, ids: Tensor, n_tokens: int, block_size: int) -> Tensor:
    """Sample n_tokens more, one at a time: (B, T) -> (B, T + n_tokens)."""
    for _ in range(n_tokens):
        scores = model(ids[:, -block_size:])[:, -1]  # (B, V): logits after the last position
        next_ids = torch.multinomial(F.softmax(scores, dim=-1), num_samples=1)  # (B, 1)
        ids = torch.cat((ids, next_ids), dim=1)
    return ids


class TokensAndPositions(nn.Module):
    """The sum of a token embedding and a position embedding: (B, T) -> (B, T, C)."""

    def __init__(self, vocab_size: int, block_size: int, n_embd: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, n_embd)
        self.positions = nn.Embedding(block_size, n_embd)

    def forward(self, ids: Tensor) -> Tensor:
        return self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))


def average_by_loop(x: Tensor) -> Tensor:
    """Average each position with all before it, in a loop: (B, T, C) -> (B, T, C)."""
    return torch.stack([x[:, : t + 1].mean(dim=1) for t in range(x.shape[1])], dim=1)


def average_by_matrix(x: Tensor) -> Tensor:
    """Compute the same as one matrix product: row t holds 1 / (t + 1) up to column t, and 0 after it."""
    past = x.new_ones(x.shape[1], x.shape[1]).tril()  # (T, T), ones up to the diagonal
    return past / past.sum(dim=1, keepdim=True) @ x  # (T, T) @ (B, T, C) -> (B, T, C)


def average_by_softmax(x: Tensor) -> Tensor:
    """Compute the same from scores: 0 for the past, minus infinity for the future. A head learns its scores."""
    future = x.new_ones(x.shape[1], x.shape[1]).triu(1).bool()  # (T, T), true above the diagonal
    scores = x.new_zeros(x.shape[1], x.shape[1]).masked_fill(future, float("-inf"))
    return F.softmax(scores, dim=-1) @ x


class Head(nn.Module):
    """One head of causal self-attention (Vaswani et al., 2017): (B, T, C) -> (B, T, D).

    adapt_query, adapt_key: transforms of queries and keys, identity by default; used from the rotary rung on.
    """

    def __init__(
        self,
        n_embd: int,
        head_size: int,
        dropout: float = 0.0,
        adapt_query: nn.Module | None = None,
        adapt_key: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.head_size = head_size
        self.query = nn.Linear(n_embd, head_size, bias=False)  # what am I looking for?
        self.key = nn.Linear(n_embd, head_size, bias=False)  # what do I hold?
        self.value = nn.Linear(n_embd, head_size, bias=False)  # what do I tell whoever looks at me?
        self.adapt_query, self.adapt_key = adapt_query or nn.Identity(), adapt_key or nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.adapt_query(self.query(x)), self.adapt_key(self.key(x)), self.value(x)  # (B, T, D)
        scores = q @ k.transpose(-2, -1) / self.head_size**0.5  # (B, T, T), standard deviation about 1
        future = torch.ones_like(scores[0], dtype=torch.bool).triu(1)  # (T, T)
        scores = scores.masked_fill(future, float("-inf"))  # no position sees a later one
        weights = F.softmax(scores, dim=-1)  # (B, T, T), each row sums to 1
        return self.dropout(weights) @ v


class Parallel(nn.ModuleList):
    """Modules with the same input, whose outputs are concatenated: (B, T, C) -> (B, T, sum of widths)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self], dim=-1)


class Residual(nn.Module):
    """Modules in sequence with a residual connection around them (He et al., 2015): (B, T, C) -> (B, T, C)."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.parts(x)


class TiedHead(nn.Module):
    """An output head that shares the embedding's weights (Press & Wolf, 2017): (B, T, C) -> (B, T, V)."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table  # (V, C)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.table.T


class Rotary(nn.Module):
    """Rotary positions (Su et al., 2021): (B, T, D) -> (B, T, D).

    Pairs of features rotate by angles proportional to the position, so that the product of a query and a key depends
    on their distance only.
    """

    def forward(self, x: Tensor) -> Tensor:
        T, D = x.shape[-2:]
        speeds = 10_000 ** -(torch.arange(0, D, 2, device=x.device) / D)  # (D / 2), radians a position
        angles = torch.outer(torch.arange(T, device=x.device), speeds)  # (T, D / 2)
        left, right = x.chunk(2, dim=-1)  # number i and number i + D / 2 are a pair
        turned = left * angles.cos() - right * angles.sin(), left * angles.sin() + right * angles.cos()
        return torch.cat(turned, dim=-1)


class SwiGLU(nn.Module):
    """A gated feed-forward layer, down(silu(gate(x)) * up(x)) (Shazeer, 2020): (B, T, C) -> (B, T, C)."""

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        inside = 8 * n_embd // 3  # three matrices of this width have as many weights as two of 4 C
        self.gate, self.up = (nn.Linear(n_embd, inside, bias=False) for _ in range(2))
        self.down = nn.Linear(inside, n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))
