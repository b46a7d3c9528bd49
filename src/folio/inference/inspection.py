"""Look inside a model as it reads: the probabilities of each next token, and attention weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from folio.model.context import CausalContext
from folio.model.gpt import GPT


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
def inspect(model: GPT, ids: Tensor, layer: int) -> Inspection:
    """Read tokens and return their probabilities and the attention weights of one layer.

    The model is used in the mode that it is in: in training mode its dropout acts. Compiled blocks run eagerly, so that
    no graph is compiled for one look.

    ids: (T) int64, 1 <= T <= block_size. layer: from 0 to n_layer - 1.
    """
    ids = ids.to(model.embedding.weight.device)
    context = _RecordingContext(ids[None], layer)
    with torch.compiler.set_stance("force_eager"):
        logits = model(ids[None], context)[0].float()  # (1, T, V) -> (T, V)
    return Inspection(
        ids=ids.cpu(), logprobs=logits.log_softmax(-1).cpu(), attention=context.weights[0].cpu()
    )


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
