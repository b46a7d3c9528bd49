"""Completions of the same prompts, read together: each prompt once, and no padding but in attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from folio.batch import Completions, Tensors
from folio.model.context import masked_attention
from folio.model.transformer import Transformer

GROUP_SIZE = 8
"""Segments that attend together: larger groups pad short segments more, smaller ones need more calls."""


@dataclass(frozen=True)
class AttentionGroup(Tensors):
    """Segments of similar length, padded to rows for attention. Padding is at the end and repeats token 0.

    queries: (R, S) int64, index of each segment's tokens among all N.
    keys:    (R, P + S) int64, index of the tokens they may see: their prompt's, then their own.
    mask:    (R, 1, S, P + S) bool.
    """

    queries: Tensor
    keys: Tensor
    mask: Tensor


@dataclass(frozen=True)
class SharedPrefixBatch:
    """A batch of completions as one row of N tokens, and the `Context` in which to read it.

    The row holds segments: each distinct prompt once, then each completion. A completion sees its prompt and itself.
    So a prompt is computed once for all its completions, and their gradients add up in it. The last token of a
    completion predicts nothing and is not read.

    ids:        (1, N) int64.
    targets:    (M) int64, the sampled tokens, in the order of `Completions.mask`.
    predictors: (M) int64, index among the N of the token that predicts each of them.
    positions:  (1, N) int64, position of each token in its text.
    groups:     all segments, the shortest first.
    inverse:    (N) int64, index of each token in the rows of all groups, concatenated.
    """

    ids: Tensor
    targets: Tensor
    predictors: Tensor
    positions: Tensor
    groups: Sequence[AttentionGroup]
    inverse: Tensor

    @classmethod
    def from_completions(cls, batch: Completions) -> Self:
        """Build it on the batch's device. Every prompt and every completion must have a token."""
        device, batch = batch.ids.device, batch.to(torch.device("cpu"))
        columns, starts = torch.arange(batch.ids.shape[1]), batch.mask.argmax(dim=1)
        prompts = batch.prompts
        distinct = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
        parents = torch.tensor([distinct[prompt] for prompt in prompts])  # (B), which prompt is whose
        prompt_rows = [prompts.index(prompt) for prompt in distinct]  # a row of the batch for each prompt

        # Each segment is a part of one of these rows, (segments, T): first the prompts, then the completions.
        ids = torch.cat([batch.ids[prompt_rows], batch.ids])
        in_prompt = columns < starts[prompt_rows, None]
        in_completion = (columns >= starts[:, None]) & (columns < batch.last[:, None])
        is_read = torch.cat([in_prompt, in_completion])
        sizes = is_read.sum(dim=1)
        firsts = sizes.cumsum(0) - sizes

        # Each token of a completion is predicted by the one before it, the first by the last of its prompt.
        predictors = torch.zeros_like(batch.ids)
        predictors[in_completion] = torch.arange(int(firsts[len(prompt_rows)]), int(sizes.sum()))
        predictors[torch.arange(len(prompts)), starts - 1] = (firsts + sizes - 1)[parents]

        none = torch.zeros(len(prompt_rows), dtype=torch.int64)
        prefix_firsts, prefix_sizes = (torch.cat([none, each[parents]]) for each in (firsts, sizes))
        groups, inverse = _group(firsts, sizes, prefix_firsts, prefix_sizes)
        return cls(
            ids=ids[is_read][None].to(device),
            targets=batch.ids[batch.mask.bool()].to(device),
            predictors=predictors[:, :-1][batch.mask[:, 1:].bool()].to(device),
            positions=columns.expand_as(ids)[is_read][None].to(device),
            groups=[group.to(device) for group in groups],
            inverse=inverse.to(device),
        )

    def hidden_states(self, model: Transformer) -> Tensor:
        """Return the model's final hidden states from which each target is predicted: (M, C)."""
        return F.embedding(self.predictors, model.hidden_states(self.ids, self)[0])

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        H, D = q.shape[1], q.shape[3]
        q, k, v = (
            part[0].transpose(0, 1).flatten(1) for part in (q, k, v)
        )  # (N, H * D), (N, H_kv * D) twice

        def gather(x: Tensor, indices: Tensor) -> Tensor:
            """(N, heads * D) -> (R, heads, S, D)."""
            # An embedding, because its gradient is the fastest of all that pick rows.
            return F.embedding(indices, x).view(*indices.shape, -1, D).transpose(1, 2)

        outputs = []
        for group in self.groups:
            y = masked_attention(
                gather(q, group.queries), gather(k, group.keys), gather(v, group.keys), group.mask
            )
            outputs.append(y.transpose(1, 2).reshape(-1, H * D))  # (R, H, S, D) -> (R * S, H * D)
        y = F.embedding(self.inverse, torch.cat(outputs))  # (N, H * D)
        return y.view(1, -1, H, D).transpose(1, 2)  # (1, H, N, D)


def _group(
    firsts: Tensor, sizes: Tensor, prefix_firsts: Tensor, prefix_sizes: Tensor
) -> tuple[list[AttentionGroup], Tensor]:
    """Return the groups of a batch and their inverse.

    All: (segments) int64, the first token and the size of each segment, and of the prompt that it continues.
    """
    groups, is_token = [], []
    order = [segment for segment in sizes.argsort().tolist() if sizes[segment]]
    for first in range(0, len(order), GROUP_SIZE):
        chosen = order[first : first + GROUP_SIZE]
        own, is_own = _spans(firsts[chosen], sizes[chosen])  # (R, S)
        prefix, is_prefix = _spans(prefix_firsts[chosen], prefix_sizes[chosen])  # (R, P)
        R, S = own.shape
        past = torch.ones(S, S, dtype=torch.bool).tril().expand(R, -1, -1)
        mask = torch.cat([is_prefix[:, None].expand(-1, S, -1), past], dim=2)  # (R, S, P + S)
        groups.append(AttentionGroup(own, torch.cat([prefix, own], dim=1), mask[:, None]))
        is_token.append(is_own.flatten())
    tokens = torch.cat([group.queries.flatten() for group in groups])
    filled = torch.cat(is_token).nonzero()[:, 0]
    return groups, torch.zeros_like(filled).scatter(0, tokens[filled], filled)


def _spans(firsts: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Return ranges as padded rows, and where they are not padding: both (R, S). firsts, sizes: (R)."""
    steps = torch.arange(int(sizes.max()))
    is_within = steps < sizes[:, None]
    return (firsts[:, None] + steps) * is_within, is_within
