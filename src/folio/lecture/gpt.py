"""The whole GPT of the ladder's rung `scale_up`, top to bottom. It needs nothing but PyTorch: copy the file and change it.

Shapes: batch size B, sequence length T, width C, heads H, head size D = C / H, vocabulary size V.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Causal self-attention, all heads at once (Vaswani et al., 2017): (B, T, C) -> (B, T, C)."""

    def __init__(self, n_embd: int, n_head: int, dropout: float) -> None:
        super().__init__()
        self.n_head = n_head
        self.query = nn.Linear(n_embd, n_embd, bias=False)  # rows i D to (i + 1) D are those of head i
        self.key = nn.Linear(n_embd, n_embd, bias=False)
        self.value = nn.Linear(n_embd, n_embd, bias=False)
        self.output = nn.Linear(n_embd, n_embd)  # mixes what the heads have found
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = (
            project(x).view(B, T, self.n_head, -1).transpose(1, 2)  # (B, T, C) -> (B, H, T, D)
            for project in (self.query, self.key, self.value)
        )
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5  # (B, H, T, T), standard deviation about 1
        future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)  # true above the diagonal
        weights = F.softmax(scores.masked_fill(future, float("-inf")), dim=-1)  # no position sees a later one
        heads = self.dropout(weights) @ v  # (B, H, T, D)
        return self.output(heads.transpose(1, 2).reshape(B, T, C))  # heads side by side again


class FeedForward(nn.Module):
    """Two layers with a ReLU between them, for each position by itself: (B, T, C) -> (B, T, C)."""

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.up = nn.Linear(n_embd, 4 * n_embd)
        self.down = nn.Linear(4 * n_embd, n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.relu(self.up(x)))


class Block(nn.Module):
    """Attention and feed-forward, each with a norm before it and added to its input: (B, T, C) -> (B, T, C)."""

    def __init__(self, n_embd: int, n_head: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(n_embd)
        self.attention = Attention(n_embd, n_head, dropout)
        self.feed_forward_norm = nn.LayerNorm(n_embd)
        self.feed_forward = FeedForward(n_embd)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class GPT(nn.Module):
    """A GPT, from token ids to logits of the next token: (B, T) -> (B, T, V). T is at most block_size."""

    def __init__(
        self, vocab_size: int, block_size: int, n_layer: int, n_head: int, n_embd: int, dropout: float
    ) -> None:
        super().__init__()
        self.block_size = block_size
        self.tokens = nn.Embedding(vocab_size, n_embd)
        self.positions = nn.Embedding(block_size, n_embd)
        self.blocks = nn.ModuleList(Block(n_embd, n_head, dropout) for _ in range(n_layer))
        self.norm = nn.LayerNorm(n_embd)
        self.head = nn.Linear(n_embd, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))  # (B, T, C)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # (B, T, V)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy. ids, targets: (B, T); targets are the ids one position later."""
        return F.cross_entropy(self(ids).flatten(0, 1), targets.flatten())  # (B * T, V) and (B * T)

    @torch.no_grad()
    def generate(self, ids: Tensor, n_tokens: int) -> Tensor:
        """Sample n_tokens more, one at a time: (B, T) -> (B, T + n_tokens). Call `eval()` first: no dropout."""
        for _ in range(n_tokens):
            logits = self(ids[:, -self.block_size :])[:, -1]  # (B, V), after the last position
            next_ids = torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)  # (B, 1)
            ids = torch.cat((ids, next_ids), dim=1)
        return ids
