"""Muon: SGD with orthogonalized momentum for the weight matrices of hidden layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from folio.distributed import shared_out


def orthogonalize(matrices: Tensor, steps: int) -> Tensor:
    """Replace each matrix by an approximately orthogonal one with the same singular vectors.

    matrices: (N, rows, columns). Newton-Schulz iteration with the quintic 3.4445 x - 4.7750 x^3 + 2.0315 x^5,
    whose steep slope at 0 grows small singular values fast; they end within about 0.7 to 1.2, not at 1
    (Jordan et al., 2024, "Muon: An optimizer for hidden layers in neural networks").
    """
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if is_tall else matrices  # rows <= columns, so that the Gram matrix is small
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, polynomial, x, beta=3.4445)
    return x.mT if is_tall else x


class Muon(Optimizer):
    """SGD with Nesterov momentum and orthogonalized updates (Jordan et al., 2024).

    Each update is scaled by sqrt(max(1, rows / columns)), as in the authors' code and `torch.optim.Muon`. Unlike
    these, it orthogonalizes matrices of equal shape in one batch, and in any `dtype`, as float32 is faster than
    bfloat16 on some CPUs (benchmarks/). Of several ranks, which hold the same momentum, each orthogonalizes its share.

    params: 2-D parameters only. weight_decay: decoupled (Loshchilov & Hutter, 2019). steps: Newton-Schulz iterations;
    4 instead of the authors' 5 is no worse in the Shakespeare recipe.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, object]],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        steps: int = 4,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps}
        )
        self.dtype = dtype
        for group in self.param_groups:
            if any(parameter.ndim != 2 for parameter in group["params"]):
                raise ValueError("Muon takes 2-D parameters only; use AdamW for the others.")

    def __getstate__(self) -> dict[str, Any]:
        # Used by copy and pickle. state_dict() leaves out the precision, which belongs to the machine, not the run.
        return {**super().__getstate__(), "dtype": self.dtype}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for parameters in by_shape.values():
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: dict[str, float]) -> None:
        """Update parameters of equal shape."""
        for parameter in parameters:
            if "momentum" not in self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(gradients, momenta, group["momentum"])
        updates = shared_out(
            torch.stack(nesterov).to(self.dtype), lambda some: orthogonalize(some, int(group["steps"]))
        )
        rows, columns = parameters[0].shape
        scale = group["lr"] * max(1, rows / columns) ** 0.5
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, list(updates.to(parameters[0].dtype)), alpha=-scale)
