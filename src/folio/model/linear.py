"""Linear layers that compute in the precision of their input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """`nn.Linear` whose float32 weights are rounded to the input's precision at each use.

    This is all that mixed precision needs here: the optimizer updates float32 weights, and matrix products run in the
    precision of the residual stream (Micikevicius et al., 2018).
    """

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


def fused(layers: Sequence[nn.Linear], x: Tensor) -> Sequence[Tensor]:
    """Apply several linear layers to the same input as one matrix product, which is faster.

    x: (..., C). Returns one (..., out_features) tensor per layer.
    """
    weights: list[Tensor] = [layer.weight for layer in layers]
    weight = torch.cat(weights).to(x.dtype)
    biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
    bias = torch.cat(biases).to(x.dtype) if biases else None
    return torch.split(F.linear(x, weight, bias), [layer.out_features for layer in layers], dim=-1)


BIASES: dict[str, tuple[str, ...]] = {
    "none": (),
    "qkv": ("qkv",),
    "attention": ("qkv", "output"),
    "all": ("qkv", "output", "mlp"),
}
"""By `GPTConfig.bias`: the linear layers of a block that have one."""
