"""Attention heads: what each attends to on a text, and what a model is without some of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from folio.errors import UserError
from folio.inference.inspection import Ids, attention_weights, checked_ids
from folio.model.context import CausalContext
from folio.model.gpt import GPT


@dataclass(frozen=True)
class HeadStatistics:
    """Where attention heads look on a text. Tensors are float32 on the CPU, (L, H) for all heads of a model.

    The first position is left out: it has only itself to look at, whatever the head. The other numbers are means over
    the positions that have such a token before them, NaN where none has.

    previous: weight on the token just before.
    first:    weight on the first token, where heads look that have nothing to do (Xiao et al., 2023).
    itself:   weight on the position's own token.
    same:     weight on all earlier occurrences of the position's token.
    after:    weight on the tokens that followed those: induction (Olsson et al., 2022).
    entropy:  of the weights in nats: 0 for one token, ln n for n tokens evenly.
    """

    previous: Tensor
    first: Tensor
    itself: Tensor
    same: Tensor
    after: Tensor
    entropy: Tensor


class _StatisticsContext(CausalContext):
    """Plain causal attention that keeps the statistics of every layer, not the weights, which may be large."""

    def __init__(self, ids: Tensor) -> None:
        super().__init__(ids)
        self.ids = ids[0]
        self.layers: dict[int, HeadStatistics] = {}

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.layers[layer] = attention_statistics(attention_weights(q, k)[0], self.ids)
        return super().attend(layer, q, k, v)


@torch.inference_mode()
def head_statistics(model: GPT, ids: Ids) -> HeadStatistics:
    """Read tokens and return where each head of each layer looks: tensors (L, H).

    Args:
        model: in evaluation mode, or its dropout acts.
        ids: (T) token ids, 1 <= T <= block_size: a list, an array or a tensor.

    Raises:
        UserError: for no tokens, more than the model reads at once, or an id that it does not have.
    """
    read = checked_ids(model, ids, "head_statistics", 1)
    context = _StatisticsContext(read[None])
    with torch.compiler.set_stance("force_eager"):
        model(read[None], context)
    layers = [context.layers[layer] for layer in range(model.config.n_layer)]
    names = [part.name for part in fields(HeadStatistics)]
    return HeadStatistics(**{name: torch.stack([getattr(each, name) for each in layers]) for name in names})


def attention_statistics(attention: Tensor, ids: Tensor) -> HeadStatistics:
    """Return where attention looks, from its weights. attention: (H, T, T), ids: (T). Returns tensors (H)."""
    T = len(ids)
    past = torch.ones(T, T, dtype=torch.bool, device=ids.device).tril(-1)  # (T, T), s < t
    same = (ids[:, None] == ids[None, :]) & past
    previous, first, after = (torch.zeros_like(past) for _ in range(3))
    previous[1:, :-1] = torch.eye(T - 1, dtype=torch.bool, device=ids.device)
    first[1:, 0] = True
    itself = torch.eye(T, dtype=torch.bool, device=ids.device)
    itself[0, 0] = False
    after[:, 1:] = same[:, :-1]
    return HeadStatistics(
        previous=_mean_weight(attention, previous),
        first=_mean_weight(attention, first),
        itself=_mean_weight(attention, itself),
        same=_mean_weight(attention, same),
        after=_mean_weight(attention, after & past),
        entropy=-torch.special.xlogy(attention, attention).sum(-1)[:, 1:].mean(-1).cpu(),  # (H, T, T) -> (H)
    )


def _mean_weight(attention: Tensor, mask: Tensor) -> Tensor:
    """Return the weight where the mask is true, its mean over the rows that have a true. (H, T, T), (T, T) -> (H)."""
    return (attention * mask).sum(-1)[:, mask.any(-1)].mean(-1).cpu()


@contextmanager
def without_heads(model: GPT, heads: Iterable[tuple[int, int]]) -> Iterator[None]:
    """Switch attention heads off while the block runs: what they add to the residual stream is zero (Michel et al., 2019).

    The columns of the output projection that read a head are set to zero, and afterwards to what they were, to the last
    bit, also when the block raises. The projection's bias, which belongs to no head, stays. Query heads that share keys
    and values are switched off one by one. What is generated in the block is without the heads. Nothing else may use or
    save the model meanwhile.

    heads: (layer, head) pairs, counted from 0. Raises UserError for one that the model does not have.
    """
    chosen = sorted(set(heads))  # a head given twice would be restored to zero
    for layer, head in chosen:
        check_head(model, layer, head)
    D = model.config.head_size
    columns = [
        model.get_parameter(f"blocks.{layer}.attention.output.weight").detach()[:, head * D : (head + 1) * D]
        for layer, head in chosen
    ]
    kept = [part.clone() for part in columns]  # each (C, D)
    try:
        for part in columns:
            part.zero_()
        yield
    finally:
        for part, values in zip(columns, kept, strict=True):
            part.copy_(values)


def check_head(model: GPT, layer: int, head: int) -> None:
    """Raise UserError, which says what there is, for a head that the model does not have."""
    n_layer, n_head = model.config.n_layer, model.config.n_head
    if not (0 <= layer < n_layer and 0 <= head < n_head):
        raise UserError(
            f"there is no head {layer}.{head}: the model has layers 0 to {n_layer - 1} with heads 0 to {n_head - 1}."
        )


class _RowsContext(CausalContext):
    """Plain causal attention that keeps, of every layer, the weights from the last position."""

    def __init__(self, ids: Tensor) -> None:
        super().__init__(ids)
        self.layers: dict[int, Tensor] = {}

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.layers[layer] = attention_weights(q, k)[0, :, -1].cpu()
        return super().attend(layer, q, k, v)


@torch.inference_mode()
def last_attention(model: GPT, ids: Ids) -> Tensor:
    """Read tokens and return where every head looks from the last of them, as it predicts the next: (L, H, T) float32.

    Args:
        model: in evaluation mode, or its dropout acts.
        ids: (T) token ids, 1 <= T <= block_size: a list, an array or a tensor.

    Raises:
        UserError: for no tokens, more than the model reads at once, or an id that it does not have.
    """
    read = checked_ids(model, ids, "last_attention", 1)
    context = _RowsContext(read[None])
    with torch.compiler.set_stance("force_eager"):
        model(read[None], context)
    return torch.stack([context.layers[layer] for layer in range(model.config.n_layer)])
