"""Loss over a whole validation split."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from folio.batch import Batch, Loss
from folio.model.mode import evaluating
from folio.objectives.next_token import next_token_loss


@dataclass(frozen=True)
class HeldOut:
    """Batches that no step learns from, and the loss to measure on them.

    n_bytes: how many bytes of UTF-8 their targets spell, where the loss is that of tokens.
    """

    batches: Sequence[Batch]
    loss_function: Callable[[Any, Batch], Loss] = next_token_loss
    n_bytes: int = field(default=0, kw_only=True)

    @torch.inference_mode()
    def __call__(self, model: nn.Module) -> dict[str, float]:
        """val_loss and the loss' metrics, means over all batches with dropout off.

        With n_bytes also val_bpb, the loss in bits for each byte, which compares tokenizers.
        Compiled blocks run eagerly here: another compilation, for a graph without gradients, costs more time
        than it saves in the few evaluations of a run.
        """
        device = next(model.parameters()).device
        sums: dict[str, float] = {"loss": 0.0}
        count = 0.0
        with evaluating(model), torch.compiler.set_stance("force_eager"):
            for batch in self.batches:
                loss = self.loss_function(model, batch.to(device))
                count += loss.count.item()
                for name, value in {"loss": loss.total, **loss.metrics}.items():
                    sums[name] = sums.get(name, 0.0) + value.item()
        means = {f"val_{name}": value / count for name, value in sums.items()}
        if self.n_bytes:
            means["val_bpb"] = sums["loss"] / math.log(2) / self.n_bytes
        return means
