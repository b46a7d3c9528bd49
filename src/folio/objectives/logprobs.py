"""Log-probabilities of given tokens, from which all losses over completions are built."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from folio.batch import Completions
from folio.model.context import Context
from folio.model.gpt import GPT

LOGITS = 2**26
"""Most logits that are held at a time, 256 MB: a vocabulary of 50,000 has as many for 1,342 tokens."""


def token_logprobs(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """Return ln p of each target in nats, under softmax(logits / temperature).

    The policy, its reference and every update must divide by the same temperature, or ratios compare different
    distributions. logits: (..., V); targets: (...) int64. Returns (...) float32.
    """
    logits = logits.float() if temperature == 1 else logits.float() / temperature
    return -F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none").view_as(targets)


def entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the entropy -sum p ln p of softmax(logits / temperature) in nats: (..., V) -> (...) float32."""
    logprobs = F.log_softmax(logits.float() / temperature, dim=-1)
    return -(logprobs.exp() * logprobs).sum(dim=-1)


def completion_logprobs(model: nn.Module, batch: Completions) -> Tensor:
    """Return ln p of each completion given its prompt, summed over its tokens (`<|end|>` included): (B).

    model: ids (B, T) -> logits (B, T, V).
    """
    logprobs = -token_losses(model, batch.ids[:, :-1], batch.ids[:, 1:])  # (B, T - 1)
    return (logprobs * batch.mask[:, 1:]).sum(dim=1)


def token_losses(model: nn.Module, ids: Tensor, targets: Tensor, context: Context | None = None) -> Tensor:
    """Return -ln p of each target in nats, in float32: (B, T), as are ids and targets.

    model: a `GPT`, whose logits are made in pieces (`in_pieces`); or anything else that gives logits (B, T, V) for ids.
    """
    if not isinstance(model, GPT):
        return -token_logprobs(model(ids) if context is None else model(ids, context), targets)
    hidden_states = model.hidden_states(ids, context).flatten(0, 1)  # (B * T, C)
    return -head_logprobs(model, hidden_states, targets.flatten()).view_as(targets)


def head_logprobs(model: GPT, hidden_states: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """Return `token_logprobs` of a model's logits, which are made in pieces: (M, C), (M) -> (M)."""

    def of(x: Tensor, y: Tensor) -> tuple[Tensor]:
        return (token_logprobs(model.head(x), y, temperature),)

    return in_pieces(of, hidden_states, targets, model.config.vocab_size)[0]


def sampled_logprobs(
    model: GPT, hidden_states: Tensor, targets: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return ln p of each target, and the entropy of the distribution it was drawn from, without a gradient, in nats.

    hidden_states: (M, C); targets: (M) int64. Both results: (M).
    """

    def of(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = model.head(x)
        return token_logprobs(logits, y, temperature), entropy(logits.detach(), temperature)

    logprobs, entropies = in_pieces(of, hidden_states, targets, model.config.vocab_size)
    return logprobs, entropies


def in_pieces(
    function: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
    hidden_states: Tensor,
    targets: Tensor,
    vocab_size: int,
) -> tuple[Tensor, ...]:
    """Return function(hidden_states, targets), which makes logits of them, without holding more than `LOGITS` at a time.

    Where there would be more, they are made in pieces, and again for the gradient (Chen et al., 2016), which costs a third
    of the head's time. hidden_states: (M, C); targets: (M); each result: (M).
    """
    n = max(1, LOGITS // vocab_size)
    if len(targets) <= n:
        return function(hidden_states, targets)
    pieces = [
        checkpoint(function, x, y, use_reentrant=False)
        for x, y in zip(torch.split(hidden_states, n), torch.split(targets, n), strict=True)
    ]
    return tuple(map(torch.cat, zip(*pieces, strict=True)))
