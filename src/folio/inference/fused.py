"""Decoding with PyTorch: a copy of a GPT's weights, laid out for passes over a few tokens.

With one token a row, a pass is many small operations, and calling them costs as much as their work. So layers that
read the same input become one matrix, laid out as the product wants it; the weights of a norm go into the matrix
behind it; queries and keys are normalized and rotated together, by angles that hold the weights of their norms; and
adding to the residual stream is part of a product. The result is that of `GPT.forward`, up to rounding.

NORMS, POSITIONS and MLPS have the same keys as the tables of that name in folio.model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from folio.model.block import Block
from folio.model.cache import CachedContext
from folio.model.config import GPTConfig
from folio.model.gpt import GPT


class FusedGPT:
    """A copy of a model's weights that reads tokens of any rows: one of each as it is written, several of a prompt.

    Later training steps do not change it (except for learned positions, which it shares). It takes about as much
    memory as the blocks' weights, in the precision that the model computes in.
    """

    def __init__(self, model: GPT) -> None:
        config, dtype = model.config, model.compute_dtype
        blocks: list[Block] = list(model.blocks)  # type: ignore[arg-type]
        self.embedding = model.embedding.weight.detach().clone()
        self.dtype = dtype
        self.layers = [Layer(config, block, dtype) for block in blocks]
        gain = torch.stack([layer.head_gain for layer in self.layers]).to(self.embedding.device)
        self.positions = POSITIONS[config.position](model, gain)
        self.head = Matrix([model.head], NORMS[config.norm](model.norm, config.n_embd), dtype)

    def step(self, ids: Tensor, context: CachedContext) -> Tensor:
        """Read more tokens of some rows, each with its place in a cache, and return their last hidden states.

        ids: (N) int64. Returns (N, C), which `head` turns into logits.
        """
        x = F.embedding(ids, self.embedding).to(self.dtype)  # (N, C)
        x, angles = self.positions.start(x, context.positions)
        for i, layer in enumerate(self.layers):
            x = layer.output.add_to(x, context.attend(i, *layer.heads(x, self.positions, angles[i])))
            x = layer.down.add_to(x, layer.mlp(layer.up(x)))
        return x


class _SplitNorm(NamedTuple):
    """A norm in two parts: norm(x) = normalize(x) * gain + bias. `normalize` returns float32."""

    normalize: Callable[[Tensor], Tensor]
    gain: Tensor
    bias: Tensor | None


def _split_rms_norm(norm: nn.Module, size: int) -> _SplitNorm:
    """x / sqrt(mean(x^2) + eps) = sqrt(size) * x / sqrt(|x|^2 + size * eps): fewer and faster operations."""
    weight = norm.get_parameter("weight").detach()
    floor = torch.tensor((size * float(norm.eps)) ** 0.5, device=weight.device)  # type: ignore[arg-type]

    def normalize(x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        return x / length.hypot_(floor)

    return _SplitNorm(normalize, weight * size**0.5, None)


def _split_layer_norm(norm: nn.Module, size: int) -> _SplitNorm:
    weight, bias, eps = norm.get_parameter("weight"), norm.get_parameter("bias"), float(norm.eps)  # type: ignore[arg-type]
    return _SplitNorm(lambda x: F.layer_norm(x.float(), (size,), eps=eps), weight.detach(), bias.detach())


def _split_no_norm(norm: nn.Module, size: int) -> _SplitNorm:
    return _SplitNorm(lambda x: x.float(), torch.ones(size), None)


NORMS = {"rms_norm": _split_rms_norm, "layer_norm": _split_layer_norm, "none": _split_no_norm}


class Matrix:
    """Linear layers of the same input as one product, after a norm whose gain and bias are folded in, or none.

    W (g n + b) + c = (W g) n + (W b + c), for a norm with gain g and bias b.
    """

    def __init__(self, layers: Sequence[nn.Linear], norm: _SplitNorm | None, dtype: torch.dtype) -> None:
        weight = torch.cat([layer.weight.detach().t() for layer in layers], dim=1)  # (in, out): faster here
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        bias = torch.cat(biases) if biases else weight.new_zeros(weight.shape[1])
        if norm is not None:
            self.normalize = norm.normalize
            bias = bias if norm.bias is None else bias + norm.bias @ weight
            weight *= norm.gain[:, None]
        self.weight = weight.to(dtype)
        self.bias = bias.to(dtype) if biases or (norm is not None and norm.bias is not None) else None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the product after the norm. x: (N, in) -> (N, out)."""
        x = _cast(self.normalize(x), self.weight.dtype)
        return torch.mm(x, self.weight) if self.bias is None else torch.addmm(self.bias, x, self.weight)

    def add_to(self, total: Tensor, x: Tensor) -> Tensor:
        """Return total (N, out) plus the product, without a norm, of x (N, in)."""
        total = torch.addmm(total, x, self.weight)
        return total if self.bias is None else total.add_(self.bias)


class Layer:
    """The matrices of a block."""

    def __init__(self, config: GPTConfig, block: Block, dtype: torch.dtype) -> None:
        attention = block.attention
        mlp: Any = block.mlp
        self.sizes = (config.n_head, config.n_kv_head, config.head_size)
        split = NORMS[config.norm]
        self.project = Matrix(
            [attention.query, attention.key, attention.value],
            split(block.attention_norm, config.n_embd),
            dtype,
        )
        self.output = Matrix([attention.output], None, dtype)
        names, self.mlp = MLPS[config.mlp]
        self.up = Matrix([getattr(mlp, name) for name in names], split(block.mlp_norm, config.n_embd), dtype)
        self.down = Matrix([mlp.down], None, dtype)
        query_norm, key_norm = (
            NORMS[config.qk_norm](part, config.head_size)
            for part in (attention.query_norm, attention.key_norm)
        )
        self.normalize_heads = query_norm.normalize
        self.head_gain = torch.stack([query_norm.gain] * config.n_head + [key_norm.gain] * config.n_kv_head)
        """(H + H_kv, D): the gains of the norms of queries and keys."""

    def heads(self, x: Tensor, positions: Positions, angle: Angle) -> tuple[Tensor, Tensor]:
        """x: (N, C) -> queries (N, H, D), and keys, then values, (N, 2 * H_kv, D)."""
        H, H_kv, D = self.sizes
        # split_with_sizes, because split costs as much as arithmetic does here.
        qk, v = self.project(x).view(-1, H + 2 * H_kv, D).split_with_sizes((H + H_kv, H_kv), dim=1)
        qk = _cast(positions.rotate(self.normalize_heads(qk), angle), v.dtype)  # (N, H + H_kv, D)
        q, k = qk.split_with_sizes((H, H_kv), dim=1)
        return q, torch.cat((k, v), dim=1)


class _LearnedPositions:
    """Learned positions: added to the token; queries and keys are scaled by their gains and not rotated."""

    def __init__(self, model: GPT, gain: Tensor) -> None:
        self.positions = model.positions
        self.gains = gain.unbind()

    def start(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Sequence[Angle]]:
        """x: (N, C); positions: (N). Returns x with its positions, and each layer's angle."""
        x, _ = self.positions(x, positions)
        return x, [(gain,) for gain in self.gains]

    def rotate(self, heads: Tensor, angle: Angle) -> Tensor:
        """heads: (N, H + H_kv, D), normalized but for the gains."""
        return heads * angle[0]


class _RotaryPositions:
    """Rotary positions: (l, r) becomes (l cos - r sin, r cos + l sin) = (l, r) cos + (r, l) (-sin, sin).

    cos and sin hold the gains of queries and keys.
    """

    def __init__(self, model: GPT, gain: Tensor) -> None:
        frequencies = model.positions.get_buffer("frequencies")
        self.frequencies = torch.cat((frequencies, frequencies))  # (D)
        sign = torch.ones_like(self.frequencies)
        sign[: len(frequencies)] = -1
        self.half = len(frequencies)
        self.cos_gain = gain[:, None]  # (L, 1, H + H_kv, D)
        self.sin_gain = gain[:, None].roll(self.half, -1) * sign

    def start(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Sequence[Angle]]:
        angles = positions[:, None, None] * self.frequencies  # (N, 1, D)
        cos, sin = angles.cos() * self.cos_gain, angles.sin() * self.sin_gain  # (L, N, H + H_kv, D)
        return x, list(zip(cos.unbind(), sin.unbind(), strict=True))

    def rotate(self, heads: Tensor, angle: Angle) -> Tensor:
        cos, sin = angle
        return torch.addcmul(heads * cos, heads.roll(self.half, -1), sin)


Angle: TypeAlias = tuple[Tensor, ...]
Positions: TypeAlias = _LearnedPositions | _RotaryPositions
POSITIONS: dict[str, type[_LearnedPositions] | type[_RotaryPositions]] = {
    "learned": _LearnedPositions,
    "rotary": _RotaryPositions,
}


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return x.to(dtype), which takes a while even where there is nothing to do."""
    return x if x.dtype is dtype else x.to(dtype)


def _swiglu(x: Tensor) -> Tensor:
    gate, up = x.split_with_sizes((x.shape[1] // 2,) * 2, dim=1)  # two of (N, mlp_size)
    return F.silu(gate).mul_(up)


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


MLPS: dict[str, tuple[tuple[str, ...], Callable[[Tensor], Tensor]]] = {
    "swiglu": (("gate", "up"), _swiglu),
    "gelu": (("up",), _gelu),
    "gelu_exact": (("up",), F.gelu),
}
"""By name: the layers that read the residual stream, and the function between their output and `down`."""
