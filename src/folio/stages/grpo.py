"""Group relative policy optimization: a model learns from which of its answers to the same prompt are the better ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

from rich.console import Console

from folio.errors import UserError
from folio.objectives.grpo import GRPOBatch, grpo_loss
from folio.report.policy import show_result
from folio.rl.experience import GRPOCollector
from folio.runs.directory import RunDirectory
from folio.runs.state import Training
from folio.stages.policy import PolicyConfig, finish, prepare_policy, prepared, rollouts, start_policy
from folio.stages.stage import Prepared, Stage
from folio.training.optimizer import build_optimizers


@dataclass(frozen=True, kw_only=True)
class GRPOConfig(PolicyConfig):
    """Everything that decides a run of GRPO."""

    group_size: int = 8
    """How many of the answers are to the same prompt, and compared; it must divide rollout_size."""
    kl_coef: float = 0.0
    """Weight of the KL to the reference in the loss; 0 where the reward cannot be fooled."""
    scale: Literal["std", "none"] = "none"
    """std divides advantages by their group's deviation, as in the paper; it favours prompts that are nearly always
    or nearly never answered well (Liu et al., 2025)."""

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise UserError(f"group_size is {self.group_size}: an answer needs another to be compared with.")
        super().__post_init__()
        if not 0 <= self.kl_coef < math.inf:
            raise UserError(f"kl_coef is {self.kl_coef}: it must be at least 0.")


def prepare(config: GRPOConfig, run: RunDirectory, console: Console) -> Prepared:
    """A policy, and rollouts to learn from."""
    made = prepare_policy(config, run, console)
    runtime, plan = start_policy(made, config, run)
    collector = GRPOCollector(
        sampler=made.writing,
        order=made.order,
        n_prompts=config.rollout_size // config.group_size,
        group_size=config.group_size,
        scale=config.scale,
    )
    source = rollouts(config, collector, GRPOBatch)
    training = Training(
        model=made.model,
        tokenizer=made.writing.tokenizer,
        source=source,
        groups=source,
        loss_function=partial(
            grpo_loss,
            clip_range=config.clip_range,
            kl_coef=config.kl_coef,
            temperature=config.temperature,
        ),
        evaluation=made.evaluation,
        optimizers=build_optimizers(made.model, config.optimizer, muon_dtype=runtime.compute_dtype),
        runtime=runtime,
        plan=plan,
        figures=source.metrics,
    )
    return prepared(config, made, training)


STAGE = Stage("grpo", __doc__, GRPOConfig, prepare, finish, show_result)
main = STAGE.main
