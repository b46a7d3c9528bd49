"""A larger vocabulary for a trained model."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from folio.model.gpt import GPT


@torch.no_grad()
def resize_vocab(model: GPT, n_known: int, vocab_size: int) -> GPT:
    """Return a copy of the model in which ids n_known to vocab_size - 1 are new tokens; all other rows stay the same.

    Rows beyond n_known, as embeddings padded to a round number have, are used first; then embedding and head grow. Each
    new row is the mean of the first n_known, in the embedding and in the head (Hewitt, 2021, "Initializing new word
    embeddings for pretrained language models"). A new token's logit is then the mean of the old ones and, as exp is
    convex, its probability at most that of an average token; a small random row, with a logit near 0, can outdo all old
    tokens. Hewitt's noise is left out: it only makes the new tokens differ, which the first training step does as well.
    """
    config = replace(model.config, vocab_size=max(vocab_size, model.config.vocab_size))
    larger = copy.deepcopy(model)
    larger.config = config
    larger.embedding.weight = nn.Parameter(_with_mean_rows(model.embedding.weight, n_known, vocab_size))
    larger.embedding.num_embeddings = config.vocab_size
    larger.head.weight = (
        larger.embedding.weight
        if config.tied_embeddings
        else nn.Parameter(_with_mean_rows(model.head.weight, n_known, vocab_size))
    )
    larger.head.out_features = config.vocab_size
    return larger


def _with_mean_rows(weight: Tensor, n_known: int, vocab_size: int) -> Tensor:
    """(V_old, C) -> (V, C)."""
    mean = weight[:n_known].mean(0, keepdim=True)
    return torch.cat([weight[:n_known], mean.expand(vocab_size - n_known, -1), weight[vocab_size:]])
