"""Neighbors of tokens in the embedding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from folio.inference.inspection import Ids, checked_ids
from folio.model.gpt import GPT


@dataclass(frozen=True)
class Neighbors:
    """The tokens whose embeddings point most nearly the same way as those of U distinct tokens. On the CPU.

    ids:          (U) int64, in order of first occurrence.
    nearest:      (U, n) int64, the nearest other tokens, nearest first.
    similarities: (U, n) float32, the cosines of their angles, from -1 to 1.
    """

    ids: Tensor
    nearest: Tensor
    similarities: Tensor


@torch.inference_mode()
def nearest_tokens(model: GPT, ids: Ids, n: int = 3) -> Neighbors:
    """Return the n nearest other tokens, by cosine in the embedding, of each distinct token of a text.

    A token that training never met has the embedding that it started with, and so chance neighbors.

    Args:
        model: any; only its embedding is read.
        ids: (T) token ids, 1 <= T <= block_size: a list, an array or a tensor.
        n: neighbors of each token, at most V - 1.

    Raises:
        UserError: for no tokens, more than the model reads at once, or an id that it does not have.
    """
    read = checked_ids(model, ids, "nearest_tokens", 1)
    distinct = torch.tensor(list(dict.fromkeys(read.tolist())), device=read.device)  # (U)
    directions = F.normalize(model.embedding.weight.float(), dim=-1)  # (V, C)
    cosines = directions[distinct] @ directions.T  # (U, V)
    cosines[torch.arange(len(distinct), device=read.device), distinct] = -torch.inf  # not its own neighbor
    similarities, nearest = cosines.topk(min(n, model.config.vocab_size - 1))
    return Neighbors(distinct.cpu(), nearest.cpu(), similarities.clamp(-1, 1).cpu())
