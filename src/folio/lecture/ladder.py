"""The rungs of the ladder: each is the one below it with a part added, replaced or enlarged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from folio.lecture.parts import (
    Head,
    LanguageModel,
    Parallel,
    Residual,
    Rotary,
    SwiGLU,
    TiedHead,
    TokensAndPositions,
)


@dataclass(frozen=True, kw_only=True)
class Size:
    """Size of a model and its training: `steps` steps on batch_size windows of block_size tokens."""

    n_embd: int
    n_head: int
    n_layer: int
    block_size: int
    dropout: float
    batch_size: int
    learning_rate: float
    steps: int


@dataclass(frozen=True, kw_only=True)
class Rung:
    """Specification of a model: functions that build its parts from the size (s), some from the vocabulary size (V)."""

    added: str
    """Description of the change from the rung below."""
    size: Size
    embed: Callable[[int, Size], nn.Module]
    attend: Callable[[Size], nn.Module] = nn.Identity
    think: Callable[[Size], nn.Module] = nn.Identity
    norm: Callable[[int], nn.Module] = nn.Identity
    join: Callable[..., nn.Module] = lambda s, *parts: nn.Sequential(*parts)
    head: Callable[[int, Size, Any], nn.Module] = nn.Identity
    optimizer: str = "adamw"

    def build(self, V: int, s: Size) -> LanguageModel:
        """Build a model: an embedding, n_layer times attention and feed-forward, and a head."""
        embed = self.embed(V, s)
        layers = [
            self.join(s, self.norm(s.n_embd), part(s))
            for _ in range(s.n_layer)
            for part in (self.attend, self.think)
        ]
        return LanguageModel(embed, nn.Sequential(*layers, self.norm(s.n_embd)), self.head(V, s, embed))


def heads(s: Size, dropout: float = 0.0, adapt: Callable[[], nn.Module] = nn.Identity) -> nn.Module:
    """Return n_head parallel heads that divide the width among them; `adapt` makes a transform of queries and keys."""
    adapt_query, adapt_key = adapt(), adapt()
    return Parallel(
        Head(s.n_embd, s.n_embd // s.n_head, dropout, adapt_query, adapt_key) for _ in range(s.n_head)
    )


def attention(s: Size, dropout: float = 0.0, adapt: Callable[[], nn.Module] = nn.Identity) -> nn.Module:
    """Return heads followed by a projection of their outputs to the residual stream."""
    return nn.Sequential(heads(s, dropout, adapt), nn.Linear(s.n_embd, s.n_embd))


def small(tables: nn.Module, width: int) -> nn.Module:
    """Initialize with a standard deviation of 1 / sqrt(C), so that scores from a tied table start with one of 1."""
    for table in tables.parameters():
        nn.init.normal_(table, std=width**-0.5)
    return tables


def widen(s: Size, activation: nn.Module) -> nn.Module:
    """Return a feed-forward layer with a hidden width of 4 C."""
    return nn.Sequential(nn.Linear(s.n_embd, 4 * s.n_embd), activation, nn.Linear(4 * s.n_embd, s.n_embd))


SMALL = Size(
    n_embd=32, n_head=4, n_layer=1, block_size=8, dropout=0.2, batch_size=32, learning_rate=1e-3, steps=5000
)
LAPTOP = Size(
    n_embd=128, n_head=4, n_layer=4, block_size=64, dropout=0.1, batch_size=32, learning_rate=1e-3, steps=600
)
LECTURE = Size(
    n_embd=384,
    n_head=6,
    n_layer=6,
    block_size=256,
    dropout=0.2,
    batch_size=64,
    learning_rate=3e-4,
    steps=5000,
)

BIGRAM = Rung(
    added="a table: what follows each character",
    size=replace(SMALL, learning_rate=1e-2),
    embed=lambda V, s: nn.Embedding(V, V),
)
POSITION = replace(
    BIGRAM,
    added="vectors for characters and positions",
    size=SMALL,
    embed=lambda V, s: TokensAndPositions(V, s.block_size, s.n_embd),
    head=lambda V, s, embed: nn.Linear(s.n_embd, V),
)
SINGLE_HEAD = replace(POSITION, added="one head of self-attention", attend=lambda s: Head(s.n_embd, s.n_embd))
MULTI_HEAD = replace(SINGLE_HEAD, added="four heads instead of one", attend=heads)
FEED_FORWARD = replace(
    MULTI_HEAD,
    added="a feed-forward layer",
    think=lambda s: nn.Sequential(nn.Linear(s.n_embd, s.n_embd), nn.ReLU()),
)
RESIDUAL = replace(
    FEED_FORWARD,
    added="residual connections, three wide layers",
    size=replace(SMALL, n_layer=3),
    join=lambda s, *parts: Residual(*parts),
    attend=attention,
    think=lambda s: widen(s, nn.ReLU()),
)
LAYER_NORM = replace(RESIDUAL, added="layer normalization", norm=nn.LayerNorm)
DROPOUT = replace(
    LAYER_NORM,
    added="dropout",
    join=lambda s, *parts: Residual(*parts, nn.Dropout(s.dropout)),
    attend=lambda s: attention(s, s.dropout),
)
SCALE_UP = replace(DROPOUT, added="width, depth, context, less dropout", size=LAPTOP)
GELU_TYING = replace(
    SCALE_UP,
    added="GELU, one table for input and output",
    think=lambda s: widen(s, nn.GELU(approximate="tanh")),
    embed=lambda V, s: small(TokensAndPositions(V, s.block_size, s.n_embd), s.n_embd),
    head=lambda V, s, embed: TiedHead(embed.tokens.weight),
)
ROTARY = replace(
    GELU_TYING,
    added="rotary positions",
    embed=lambda V, s: small(nn.Embedding(V, s.n_embd), s.n_embd),
    attend=lambda s: attention(s, s.dropout, Rotary),
    head=lambda V, s, embed: TiedHead(embed.weight),
)
RMS_NORM = replace(
    ROTARY,
    added="RMSNorm, on queries and keys too",
    norm=nn.RMSNorm,
    attend=lambda s: nn.Sequential(
        heads(s, s.dropout, lambda: nn.Sequential(nn.RMSNorm(s.n_embd // s.n_head), Rotary())),
        nn.Linear(s.n_embd, s.n_embd, bias=False),
    ),
)
SWIGLU = replace(RMS_NORM, added="SwiGLU: folio's GPT", think=lambda s: SwiGLU(s.n_embd))
MUON = replace(SWIGLU, added="Muon instead of AdamW", optimizer="muon")

# fmt: off
LADDER = {
    "bigram": BIGRAM, "position": POSITION, "single_head": SINGLE_HEAD, "multi_head": MULTI_HEAD,
    "feed_forward": FEED_FORWARD, "residual": RESIDUAL, "layer_norm": LAYER_NORM, "dropout": DROPOUT,
    "scale_up": SCALE_UP, "gelu_tying": GELU_TYING, "rotary": ROTARY, "rms_norm": RMS_NORM,
    "swiglu": SWIGLU, "muon": MUON,
}
# fmt: on
