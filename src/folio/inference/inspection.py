"""Look inside a model as it reads: the probabilities of each next token, and attention weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from folio.errors import UserError
from folio.model.context import CausalContext
from folio.model.gpt import GPT
from folio.objectives.logprobs import token_logprobs

Ids = Sequence[int] | NDArray[np.integer] | Tensor


@dataclass(frozen=True)
class Inspection:
    """A row of tokens, read once. All tensors are on the CPU, numbers in float32.

    ids:        (T) int64, the tokens read.
    logprobs:   (T, V), in row t the log-probability of every token to be number t + 1.
    attention:  (H, T, T), each head's weights in one layer, from position t (row) to position s (column): at least
                0, rows sum to 1, and 0 wherever s > t.
    """

    ids: Tensor
    logprobs: Tensor
    attention: Tensor

    @property
    def losses(self) -> Tensor:
        """-ln p in nats of each token but the first, which nothing predicts: (T - 1)."""
        return -self.logprobs[:-1].gather(1, self.ids[1:, None]).squeeze(1)


class _RecordingContext(CausalContext):
    """Plain causal attention that keeps the attention weights of one layer."""

    def __init__(self, ids: Tensor, layer: int) -> None:
        super().__init__(ids)
        self.recorded_layer = layer
        self.weights: Tensor

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if layer == self.recorded_layer:
            self.weights = attention_weights(q, k)
        return super().attend(layer, q, k, v)


@torch.inference_mode()
def inspect(model: GPT, ids: Ids, layer: int) -> Inspection:
    """Read tokens and return the probabilities of each next token, and the attention weights of one layer.

    Compiled blocks run eagerly, so that no graph is compiled for one look.

    Args:
        model: in evaluation mode, or its dropout acts.
        ids: (T) token ids, 1 <= T <= block_size: a list, an array or a tensor.
        layer: from 0 to n_layer - 1.

    Raises:
        UserError: for no tokens, more than the model reads at once, or an id or a layer that it does not have.
    """
    read = checked_ids(model, ids, "inspect", 1)
    if not 0 <= layer < model.config.n_layer:
        raise UserError(f"layer is {layer}: the model has layers 0 to {model.config.n_layer - 1}.")
    context = _RecordingContext(read[None], layer)
    with torch.compiler.set_stance("force_eager"):
        logits = model(read[None], context)[0].float()  # (1, T, V) -> (T, V)
    return Inspection(
        ids=read.cpu(), logprobs=logits.log_softmax(-1).cpu(), attention=context.weights[0].cpu()
    )


@torch.inference_mode()
def logprobs(model: GPT, ids: Ids) -> Tensor:
    """Return ln p of each token but the first, given those before it.

    Args:
        model: in evaluation mode, or its dropout acts.
        ids: (n) token ids, 2 <= n <= block_size: a list, an array or a tensor.

    Returns:
        (n - 1) float32 on the CPU, in nats.

    Raises:
        UserError: for fewer than two tokens, more than the model reads at once, or an id that it does not have.
    """
    read = checked_ids(model, ids, "logprobs", 2)
    return token_logprobs(model(read[None, :-1]), read[None, 1:])[0].cpu()


def checked_ids(model: GPT, ids: Ids, where: str, at_least: int) -> Tensor:
    """Return ids (T) int64 on the model's device.

    where: the caller's name, for messages. Raises UserError for fewer than `at_least` ids, more than the model reads at
    once, or one that it does not have.
    """
    read = torch.as_tensor(ids, dtype=torch.int64, device=model.embedding.weight.device)
    if not at_least <= len(read) <= model.config.block_size:
        raise UserError(
            f"there are {len(read)} tokens: {where} takes {at_least} to {model.config.block_size}, the model's context."
        )
    if read.min() < 0 or read.max() >= model.config.vocab_size:
        raise UserError(
            f"the ids range from {read.min()} to {read.max()}: the model has 0 to {model.config.vocab_size - 1}."
        )
    return read


def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(D)), each position seeing itself and what is before it (Vaswani et al., 2017).

    The model itself never holds these numbers: `scaled_dot_product_attention` goes from q, k and v to the result in
    pieces. Query heads that share a key head have weights of their own.

    q: (B, H, T, D); k: (B, H_kv, T, D). Returns (B, H, T, T) float32.
    """
    k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)  # (B, H_kv, T, D) -> (B, H, T, D)
    scores = q.float() @ k.float().transpose(-1, -2) / q.shape[-1] ** 0.5  # (B, H, T, T)
    later = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(later, float("-inf")).softmax(-1)
