"""What learning from pairs of answers has in common: one pass after another over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from folio.config import Many, Positive, Seed, Settings
from folio.data.preferences import Pair, PairBatches
from folio.model.transformer import Transformer
from folio.training.loop import Accumulated, LossFunction
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.schedule import ScheduleConfig
from folio.training.task import Task


@dataclass(frozen=True, kw_only=True)
class PairsConfig(Settings):
    """Settings of one pass after another over pairs of answers."""

    epochs: Positive = 1.0
    """Passes over the pairs; more than one, and they are memorized."""
    micro_batch_size: Many = 8
    """Pairs per forward pass; each optimizer step is one of them."""
    seed: Seed = 1
    """Seed of the order of the pairs; in `folio reward` also of the new head's weights."""
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(decay_fraction=1.0))

    def steps(self, n_pairs: int) -> int:
        """Return the optimizer steps for so many pairs."""
        return max(1, round(self.epochs * math.ceil(n_pairs / self.micro_batch_size)))


def pairs_task(
    model: Transformer,
    pairs: Sequence[Pair],
    pad_id: int,
    loss_function: LossFunction,
    config: PairsConfig,
    optimizer: OptimizerConfig,
) -> Task:
    """Return the task of training a model on pairs with a loss of `Completions`, chosen ones first (see `pair_batch`)."""
    source = PairBatches(pairs, batch_size=config.micro_batch_size, pad_id=pad_id, seed=config.seed)
    return Task(
        model=model,
        source=Accumulated(source, 1),
        loss_function=loss_function,
        optimizers=build_optimizers(model, optimizer),
        steps=config.steps(len(pairs)),
        schedule=config.schedule,
        max_norm=optimizer.max_norm,
    )
