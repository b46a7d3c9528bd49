"""Evaluation of a loss on held-out batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from folio.batch import Batch, Loss
from folio.errors import UserError
from folio.model.mode import evaluating
from folio.objectives.next_token import next_token_loss


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    loss_function: Callable[[Any, Batch], Loss] = next_token_loss,
) -> dict[str, float]:
    """Evaluate a model on batches, with dropout off.

    Compiled blocks run eagerly here: another compilation, for a graph without gradients, costs more time than it saves
    in a few evaluations.

    Returns:
        `loss` and the metrics of the loss function, each a mean over everything that counts in the batches.

    Raises:
        UserError: where nothing counts, as without a batch.
    """
    device = next(model.parameters()).device
    sums: dict[str, float] = {"loss": 0.0}
    count = 0.0
    with evaluating(model), torch.compiler.set_stance("force_eager"):
        for batch in batches:
            loss = loss_function(model, batch.to(device))
            count += loss.count.item()
            for name, value in {"loss": loss.total, **loss.metrics}.items():
                sums[name] = sums.get(name, 0.0) + value.item()
    if not count:
        raise UserError("the batches have no targets: there is nothing to evaluate.")
    return {name: value / count for name, value in sums.items()}


@dataclass(frozen=True)
class HeldOut:
    """Evaluation of the next-token loss on held-out batches.

    n_bytes: UTF-8 bytes of the text that the batches' targets spell.
    """

    batches: Sequence[Batch]
    n_bytes: int

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Return val_loss, and val_bpb, the loss in bits per byte, which compares tokenizers."""
        loss = evaluate(model, self.batches)["loss"]
        n_tokens = sum(batch.weights.sum().item() for batch in self.batches)
        return {"val_loss": loss, "val_bpb": loss * n_tokens / math.log(2) / self.n_bytes}
