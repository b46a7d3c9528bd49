"""What a model makes of tokens that it reads: what it expects after each, and where its attention goes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from folio.model.attention import Attention
from folio.model.gpt import GPT


@dataclass(frozen=True)
class Inspection:
    """One row of tokens, read once. All tensors are on the CPU, numbers in float32.

    ids:        (T) int64, what was read.
    logprobs:   (T, V), in row t the logarithm of the probability of every token to be number t + 1.
    attention:  (H, T, T), for each head of one layer how much position t (row) takes from position s (column):
                at least 0, rows sum to 1, and 0 wherever s > t.
    """

    ids: Tensor
    logprobs: Tensor
    attention: Tensor

    @property
    def losses(self) -> Tensor:
        """-ln p of each token but the first, which nothing predicts, in nats: (T - 1)."""
        return -self.logprobs[:-1].gather(1, self.ids[1:, None]).squeeze(1)


@torch.inference_mode()
def inspect(model: GPT, ids: Tensor, layer: int) -> Inspection:
    """Read `ids` and keep what can be seen on the way.

    The model is taken as it is: in training mode its dropout would act. Compiled blocks run eagerly, for
    compiled code passes over hooks.

    ids: (T) int64, 1 <= T <= block_size. layer: counted from 0.
    """
    attention: Attention = model.blocks[layer].attention  # type: ignore[assignment]
    read: list[tuple[Tensor, object]] = []
    ids = ids.to(model.embedding.weight.device)
    with (
        torch.compiler.set_stance("force_eager"),
        attention.register_forward_pre_hook(lambda _, inputs: read.append(inputs[:2])),
    ):
        logits = model(ids[None])[0].float()  # (1, T, V) -> (T, V)
    weights = attention_weights(attention, *read[0])[0]
    return Inspection(ids=ids.cpu(), logprobs=logits.log_softmax(-1).cpu(), attention=weights.cpu())


def attention_weights(attention: Attention, x: Tensor, angles: object) -> Tensor:
    """softmax(q k^T / sqrt(D)), each position seeing itself and what is before it (Vaswani et al., 2017).

    The layer itself never has these numbers in one place: `scaled_dot_product_attention` goes from q, k and v
    to the result in pieces. Query heads that share a key head have a row of weights each.

    x: (B, T, C), what the layer is given. Returns (B, H, T, T) float32.
    """
    q, k, _ = attention.project(x, angles)
    k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)  # (B, H_kv, T, D) -> (B, H, T, D)
    scores = q.float() @ k.float().transpose(-1, -2) / attention.head_size**0.5  # (B, H, T, T)
    later = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(later, float("-inf")).softmax(-1)
