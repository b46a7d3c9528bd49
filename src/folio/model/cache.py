"""Keys and values of what a model has read, so that each new token costs one position's work."""

from __future__ import annotations

import torch
from torch import Tensor

from folio.model.config import GPTConfig


class KVCache:
    """Keys and values for every layer, and the mask and positions that go with them.

    All rows end in the same column: shorter prompts have padding on their left. So one slice writes a step
    of the whole batch, and a step without padding needs no mask.

    padding: (B) int64, columns at the left of each row that hold nothing.
    """

    def __init__(self, config: GPTConfig, padding: Tensor, dtype: torch.dtype) -> None:
        shape = (len(padding), config.n_kv_head, config.block_size, config.head_size)  # (B, H_kv, T, D)
        self.padding = padding
        self.is_padded = bool(padding.any())
        self.length = 0
        """Columns filled."""
        self.keys = [padding.new_zeros(shape, dtype=dtype) for _ in range(config.n_layer)]
        self.values = [padding.new_zeros(shape, dtype=dtype) for _ in range(config.n_layer)]

    @property
    def room(self) -> int:
        """Columns still free."""
        return self.keys[0].shape[2] - self.length

    def positions(self, n_new: int) -> Tensor:
        """Where the next `n_new` tokens stand in their own rows: (T), or (B, T) with padding."""
        columns = torch.arange(self.length, self.length + n_new, device=self.padding.device)
        if not self.is_padded:
            return columns
        return (columns - self.padding[:, None]).clamp(min=0)

    def mask(self, n_new: int) -> Tensor | None:
        """Which columns each of the next `n_new` tokens may look at: (B or 1, 1, T, columns), or None for all."""
        if n_new == 1 and not self.is_padded:
            return None
        columns = torch.arange(self.length + n_new, device=self.padding.device)
        rows = columns[self.length :, None]
        visible = (columns <= rows) & (columns >= self.padding[:, None, None])
        # Padding looks at itself: a softmax over nothing would be NaN and spread to the whole row.
        return (visible | (columns == rows))[:, None]

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's new (B, H_kv, T, D) keys and values and return all of them so far."""
        end = self.length + keys.shape[2]
        self.keys[layer][:, :, self.length : end] = keys
        self.values[layer][:, :, self.length : end] = values
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def advance(self, n_new: int) -> None:
        """Count the columns that every layer has just filled."""
        self.length += n_new
