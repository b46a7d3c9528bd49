"""Which optimizer moves which weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from folio.errors import UserError
from folio.model.transformer import Transformer
from folio.training.muon import Muon


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Learning rates are those at the top of the schedule."""

    optimizer: Literal["muon", "adamw"] = "muon"
    """What moves the matrices inside the blocks; embedding, head and norms always use AdamW."""
    learning_rate: float = 0.02
    """For the matrices inside the blocks (with adamw, something like 0.001)."""
    embedding_learning_rate: float = 0.02
    """For the token embedding (and learned positions)."""
    head_learning_rate: float = 0.004
    """For the output head and the norms."""
    weight_decay: float = 0.0
    """Decoupled, on the matrices inside the blocks."""
    momentum: float = 0.95
    """Of Muon."""
    beta1: float = 0.8
    beta2: float = 0.95
    eps: float = 1e-8
    """Of AdamW: what keeps it from making large steps of tiny gradients."""
    max_norm: float = 1.0
    """Gradients longer than this are shortened to it (0 leaves them)."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "embedding_learning_rate", "head_learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} is {getattr(self, name)}: it must be above 0.")
        for name in ("weight_decay", "max_norm"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 0.")
        for name in ("momentum", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 0 and below 1.")


def build_optimizers(
    model: Transformer, config: OptimizerConfig, *, muon_dtype: torch.dtype
) -> list[Optimizer]:
    """Optimizers that together hold every parameter of `model` exactly once.

    The matrices come first: their rate is what reports show. Each group remembers its rate at the top of the
    schedule as `peak_lr`.
    """
    matrices = [parameter for parameter in model.blocks.parameters() if parameter.ndim == 2]
    tables = [*model.embedding.parameters(), *model.positions.parameters()]
    taken = {id(parameter) for parameter in (*matrices, *tables)}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]

    def adam(parameters: Sequence[Tensor], lr: float, weight_decay: float = 0.0) -> dict[str, object]:
        return {"params": parameters, "lr": lr, "weight_decay": weight_decay}

    groups = [adam(tables, config.embedding_learning_rate), adam(rest, config.head_learning_rate)]
    optimizers: list[Optimizer] = []
    if config.optimizer == "muon":
        optimizers.append(
            Muon(
                matrices,
                lr=config.learning_rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                dtype=muon_dtype,
            )
        )
    else:
        groups.insert(0, adam(matrices, config.learning_rate, config.weight_decay))
    optimizers.append(AdamW(groups, betas=(config.beta1, config.beta2), eps=config.eps, fused=True))
    return with_peaks(optimizers)


def with_peaks(optimizers: list[Optimizer]) -> list[Optimizer]:
    """Note each learning rate as the top of the schedule, of which the loop uses a share in each step."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers
