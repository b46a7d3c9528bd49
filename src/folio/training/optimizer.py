"""Which optimizer updates which weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.optim import AdamW, Optimizer

from folio.config import Decay, NonNegative, Positive, Settings
from folio.model.transformer import Transformer
from folio.training.muon import Muon


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Settings):
    """Optimizer settings. Learning rates are those at the top of the schedule."""

    optimizer: Literal["muon", "adamw"] = "muon"
    """Optimizer of the matrices inside the blocks; embedding, head and norms always use AdamW."""
    learning_rate: Positive = 0.02
    """Learning rate of the matrices inside the blocks (with adamw, something like 0.001)."""
    embedding_learning_rate: Positive = 0.02
    """Learning rate of the token embedding (and of learned positions)."""
    head_learning_rate: Positive = 0.004
    """Learning rate of the output head and the norms."""
    weight_decay: NonNegative = 0.0
    """Decoupled weight decay of the matrices inside the blocks."""
    momentum: Decay = 0.95
    """Momentum of Muon."""
    beta1: Decay = 0.8
    """Decay of AdamW's first moment."""
    beta2: Decay = 0.95
    """Decay of AdamW's second moment."""
    eps: Positive = 1e-8
    """AdamW epsilon."""
    max_norm: NonNegative = 1.0
    """Clip the gradient norm to this; 0 turns clipping off."""


def build_optimizers(model: Transformer, config: OptimizerConfig) -> list[Optimizer]:
    """Return optimizers that together hold every parameter of `model` exactly once.

    The one that holds the matrices comes first: its learning rate is the one that step reports show. Muon
    orthogonalizes in the precision that the model computes in.
    """
    matrices = [parameter for parameter in model.blocks.parameters() if parameter.ndim == 2]
    tables = [*model.embedding.parameters(), *model.positions.parameters()]
    taken = {id(parameter) for parameter in (*matrices, *tables)}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]

    def group(parameters: Sequence[Tensor], lr: float, weight_decay: float = 0.0) -> dict[str, object]:
        return {"params": parameters, "lr": lr, "weight_decay": weight_decay}

    groups = [group(tables, config.embedding_learning_rate), group(rest, config.head_learning_rate)]
    optimizers: list[Optimizer] = []
    if config.optimizer == "muon":
        muon = Muon(
            matrices,
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            dtype=model.compute_dtype,
        )
        optimizers.append(muon)
    else:
        groups.insert(0, group(matrices, config.learning_rate, config.weight_decay))
    optimizers.append(AdamW(groups, betas=(config.beta1, config.beta2), eps=config.eps, fused=True))
    return optimizers
