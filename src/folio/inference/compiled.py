"""Fast decoding in one call: a model's weights, laid out for native/decoder.c, which does what fused.py does."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_float, c_int64, c_void_p

import numpy as np
import torch
from torch import Tensor

from folio.inference.fused import NORMS as SPLIT_NORMS
from folio.inference.fused import Layer, Matrix
from folio.model.cache import KVCache
from folio.model.gpt import GPT

NORMS = ("none", "rms_norm", "layer_norm")
MLPS = ("swiglu", "gelu", "gelu_exact")
"""In the order in which decoder.c counts them."""
WORTH_SHARING = 2**22
"""Multiplications in each layer from which threads share a pass: below, waiting for each other costs as much as they save."""


class _Matrix(Structure):
    _fields_ = (("n_in", c_int64), ("n_out", c_int64), ("panels", c_void_p), ("bias", c_void_p))


class _Layer(Structure):
    _fields_ = (*((name, _Matrix) for name in ("project", "output", "up", "down")), ("head_gain", c_void_p))


class _Model(Structure):
    _fields_ = (
        *(
            (name, c_int64)
            for name in [
                "n_layer",
                "n_embd",
                "n_head",
                "n_kv_head",
                "head_size",
                "mlp_size",
                "norm",
                "head_norm",
                "mlp",
            ]
        ),
        ("norm_eps", c_float),
        *((name, c_void_p) for name in ("embedding", "positions", "angles")),
        ("layers", POINTER(_Layer)),
        ("head", _Matrix),
    )


class _Cache(Structure):
    _fields_ = (("store", c_void_p), ("n_rows", c_int64), ("n_columns", c_int64))


class CompiledGPT:
    """A copy of a GPT's weights, in float32 and in the main memory, that reads tokens of any rows as `FusedGPT` does.

    Later training steps do not change it. Results are those of `GPT.forward` up to rounding; and those of a token are the
    same, to the last bit, whatever is read beside it. library: of `native.compiler.decoder`.
    """

    def __init__(self, model: GPT, library: ctypes.CDLL) -> None:
        config = model.config
        self._library = library
        self._config = config
        self._memory = _floats(0)
        self._kept: list[Tensor] = []
        """What the structures point to."""
        layers = (self._layer(Layer(config, block, torch.float32)) for block in model.blocks)  # type: ignore[arg-type]
        self._layers = (_Layer * config.n_layer)(*layers)
        self._layer_size = sum(parameter.numel() for parameter in model.blocks[0].parameters())
        self._head_size = model.head.weight.numel()
        head = Matrix([model.head], SPLIT_NORMS[config.norm](model.norm, config.n_embd), torch.float32)
        self._model = _Model(
            config.n_layer,
            config.n_embd,
            config.n_head,
            config.n_kv_head,
            config.head_size,
            config.mlp_size,
            NORMS.index(config.norm),
            NORMS.index(config.qk_norm),
            MLPS.index(config.mlp),
            config.norm_eps,
            self._keep(model.embedding.weight.detach().clone()),
            None,
            None,
            self._layers,
            self._matrix(head),
        )
        self._n_positions = config.block_size if config.position == "learned" else 2**63 - 1
        self._frequencies: Tensor | None = None
        if config.position == "learned":
            self._model.positions = self._keep(
                model.positions.get_parameter("embedding.weight").detach().clone()
            )
        else:
            self._frequencies = model.positions.get_buffer("frequencies").detach().clone()

    def reserve(self, n_columns: int) -> None:
        """Make ready to read texts of so many tokens."""
        if self._frequencies is not None:
            angles = (
                torch.arange(n_columns, device="cpu")[:, None].float() * self._frequencies
            )  # (n_columns, D / 2)
            self._turns = torch.cat((angles.cos(), angles.sin()), dim=1)
            self._model.angles = self._turns.data_ptr()

    def read(
        self, ids: Sequence[int], rows: Sequence[int], positions: Sequence[int], cache: KVCache
    ) -> Tensor:
        """Read N tokens, each with its row of a cache and its place there, and return their last hidden states: (N, C).

        Those before a token in its row must have been read, or come before it here.
        """
        n = len(ids)
        n_threads = torch.get_num_threads() if n * self._layer_size >= WORTH_SHARING else 1
        tokens = np.array((ids, rows, positions), dtype=np.int64)
        ends = (self._config.vocab_size, cache.store.shape[1], min(cache.n_columns, self._n_positions))
        if tokens.min() < 0 or (tokens.max(axis=1) >= ends).any():
            raise IndexError(f"a token, its row or its place is outside 0 to {ends}")
        first = tokens.ctypes.data
        x = _floats(n, self._config.n_embd)
        self._library.folio_read(
            ctypes.byref(self._model),
            ctypes.byref(_Cache(cache.store.data_ptr(), cache.store.shape[1], cache.n_columns)),
            n,
            *(first + 8 * n * column for column in range(3)),
            len(set(rows)) == n,
            n_threads,
            self._room(cache.n_columns, n, n_threads),
            x.data_ptr(),
        )
        return x

    def logits(self, hidden_states: Tensor) -> Tensor:
        """Turn hidden states (N, C) into logits (N, V)."""
        n = len(hidden_states)
        n_threads = torch.get_num_threads() if n * self._head_size >= WORTH_SHARING else 1
        hidden_states = hidden_states.contiguous()
        logits = _floats(n, self._config.vocab_size)
        self._library.folio_logits(
            ctypes.byref(self._model),
            n,
            hidden_states.data_ptr(),
            n_threads,
            self._room(0, 0, n_threads),
            logits.data_ptr(),
        )
        return logits

    def _room(self, n_columns: int, n: int, n_threads: int) -> int:
        """Return the address of memory that is enough for a pass over n tokens."""
        n_floats = self._library.folio_memory(ctypes.byref(self._model), n_columns, n, n_threads)
        if n_floats > len(self._memory):
            self._memory = _floats(n_floats)
        return self._memory.data_ptr()

    def _layer(self, layer: Layer) -> _Layer:
        gain = layer.head_gain.clone()  # (H + H_kv, D)
        gain[: self._config.n_head] *= self._config.head_size**-0.5
        matrices = (layer.project, layer.output, layer.up, layer.down)
        return _Layer(*map(self._matrix, matrices), self._keep(gain))

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor.float().contiguous())
        return self._kept[-1].data_ptr()

    def _matrix(self, matrix: Matrix) -> _Matrix:
        n_in, n_out = matrix.weight.shape
        panel = self._library.folio_panel()
        panels = _floats(-(-n_out // panel) * panel * n_in)
        weight = matrix.weight.contiguous()
        self._library.folio_pack(n_in, n_out, weight.data_ptr(), panels.data_ptr())
        return _Matrix(
            n_in, n_out, self._keep(panels), None if matrix.bias is None else self._keep(matrix.bias)
        )


def _floats(*shape: int) -> Tensor:
    """Return memory for what decoder.c writes, whatever torch makes by default."""
    return torch.empty(*shape, dtype=torch.float32, device="cpu")
