"""Answers to the same prompts, read together: each prompt once, and no padding but in attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from folio.batch import Completions, Tensors
from folio.model.cache import Attend
from folio.model.transformer import Transformer

BAND_SIZE = 8
"""Stretches that attend together: with more, short ones wait for longer ones; with fewer, there are more calls."""


@dataclass(frozen=True)
class Band(Tensors):
    """Stretches of like length in rows, which is how attention reads them. Padding at their end is token 0's.

    rows:    (R, T) int64, where each stretch stands among all N tokens.
    columns: (R, P + T) int64, where that stands which it may look at: its prompt, then itself.
    mask:    (R, 1, T, P + T) bool.
    """

    rows: Tensor
    columns: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Branches:
    """A batch of completions as one row of N tokens: the different prompts, then what each answer adds to its own.

    A prompt is a stretch, and each answer another, a branch, which sees its prompt and itself. So what becomes of a
    prompt's tokens is computed once for all its answers, and their gradients add up in it. The last token of an
    answer predicts nothing that counts and is not read. `Transformer.hidden` takes this as the context of its `ids`.

    ids:        (1, N) int64.
    targets:    (M) int64, the sampled tokens, in the order of `Completions.mask`.
    predictors: (M) int64, which of the N predicts each of them.
    places:     (1, N) int64, where each token stands in its text.
    bands:      all stretches, the shortest first.
    back:       (N) int64, where each token stands in the rows of all bands, laid end to end.
    """

    ids: Tensor
    targets: Tensor
    predictors: Tensor
    places: Tensor
    bands: Sequence[Band]
    back: Tensor

    @classmethod
    def of(cls, batch: Completions) -> Self:
        """Of prompts and completions with at least one token each."""
        device, batch = batch.ids.device, batch.to(torch.device("cpu"))
        columns, starts = torch.arange(batch.ids.shape[1]), batch.mask.argmax(dim=1)
        prompts = batch.prompts
        roots = {prompt: root for root, prompt in enumerate(dict.fromkeys(prompts))}
        parents = torch.tensor([roots[prompt] for prompt in prompts])  # (B)
        asked = [prompts.index(prompt) for prompt in roots]  # a row for each prompt

        # A stretch is what is read of a row of these, (S, T): first come the prompts, then the answers.
        ids = torch.cat([batch.ids[asked], batch.ids])
        in_prompt = columns < starts[asked, None]
        in_answer = (columns >= starts[:, None]) & (columns < batch.last[:, None])
        is_read = torch.cat([in_prompt, in_answer])
        sizes = is_read.sum(dim=1)
        firsts = sizes.cumsum(0) - sizes

        # Each token of an answer is predicted by the one before it, the first by the end of its prompt.
        predictors = torch.zeros_like(batch.ids)
        predictors[in_answer] = torch.arange(int(firsts[len(asked)]), int(sizes.sum()))
        predictors[torch.arange(len(prompts)), starts - 1] = (firsts + sizes - 1)[parents]

        none = torch.zeros(len(asked), dtype=torch.int64)
        prefix_firsts, prefix_sizes = (torch.cat([none, each[parents]]) for each in (firsts, sizes))
        bands, back = _bands(firsts, sizes, prefix_firsts, prefix_sizes)
        return cls(
            ids=ids[is_read][None].to(device),
            targets=batch.ids[batch.mask.bool()].to(device),
            predictors=predictors[:, :-1][batch.mask[:, 1:].bool()].to(device),
            places=columns.expand_as(ids)[is_read][None].to(device),
            bands=[band.to(device) for band in bands],
            back=back.to(device),
        )

    def read(self, model: Transformer) -> Tensor:
        """The normalised residual stream of a model before each sampled token: (M, C)."""
        return F.embedding(self.predictors, model.hidden(self.ids, self)[0])

    def positions(self, n_new: int) -> Tensor:
        return self.places

    def mask(self, n_new: int) -> None:
        """Each band has its own."""

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, attention: Attend
    ) -> Tensor:
        """Attention within the bands. q: (1, H, N, D); k, v: (1, H_kv, N, D). Returns (1, H, N, D)."""
        H, D = q.shape[1], q.shape[3]
        q, k, v = (part[0].transpose(0, 1).flatten(1) for part in (q, k, v))  # (N, H * D)

        def heads(x: Tensor, places: Tensor) -> Tensor:
            # An embedding, because its gradient is the fastest of all that pick rows.
            return F.embedding(places, x).view(*places.shape, -1, D).transpose(1, 2)

        found = [
            attention(heads(q, band.rows), heads(k, band.columns), heads(v, band.columns), band.mask)
            .transpose(1, 2)
            .reshape(-1, H * D)
            for band in self.bands
        ]
        y = F.embedding(self.back, torch.cat(found))  # (N, H * D)
        return y.view(1, -1, H, D).transpose(1, 2)

    def advance(self, n_new: int) -> None:
        """Nothing comes after it."""


def _bands(
    firsts: Tensor, sizes: Tensor, prefix_firsts: Tensor, prefix_sizes: Tensor
) -> tuple[list[Band], Tensor]:
    """`Branches.bands` and `Branches.back` of stretches (S), each with its first token and its size, and its prompt's."""
    bands, is_token = [], []
    order = [stretch for stretch in sizes.argsort().tolist() if sizes[stretch]]
    for first in range(0, len(order), BAND_SIZE):
        chosen = order[first : first + BAND_SIZE]
        own, is_own = _spans(firsts[chosen], sizes[chosen])  # (R, T)
        prefix, is_prefix = _spans(prefix_firsts[chosen], prefix_sizes[chosen])  # (R, P)
        R, T = own.shape
        past = torch.ones(T, T, dtype=torch.bool).tril().expand(R, -1, -1)
        mask = torch.cat([is_prefix[:, None].expand(-1, T, -1), past], dim=2)
        bands.append(Band(own, torch.cat([prefix, own], dim=1), mask[:, None]))
        is_token.append(is_own.flatten())
    tokens = torch.cat([band.rows.flatten() for band in bands])
    found = torch.cat(is_token).nonzero()[:, 0]
    return bands, torch.zeros_like(found).scatter(0, tokens[found], found)


def _spans(firsts: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers that count up from `firsts` (R), and which of them are among its `sizes`: two of (R, T). The rest is 0."""
    steps = torch.arange(int(sizes.max()))
    is_within = steps < sizes[:, None]
    return (firsts[:, None] + steps) * is_within, is_within
