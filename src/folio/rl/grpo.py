"""Group relative policy optimization on language models (Shao et al., 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from folio.config import NonNegative, Positive, Settings, from_table
from folio.errors import UserError
from folio.model.gpt import GPT
from folio.objectives.grpo import GRPOBatch, grpo_loss
from folio.rl.experience import GRPOCollector
from folio.rl.policy import (
    Reward,
    RolloutConfig,
    build_rollouts,
    build_sampler,
    order_prompts,
    policy_optimizer,
    policy_schedule,
)
from folio.rl.prompts import PromptRow
from folio.rl.rollouts import PromptOrder, RolloutSampler
from folio.tokenizer.protocol import Tokenizer
from folio.training.loop import StepReport
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.schedule import ScheduleConfig
from folio.training.task import Task


@dataclass(frozen=True, kw_only=True)
class GRPOConfig(Settings):
    """Settings of GRPO."""

    kl_coef: NonNegative = 0.0
    """Weight of the KL to the reference in the loss; 0 where the reward cannot be fooled."""
    clip_range: Positive = 0.2
    """How far an update may move the probability ratio of a token from 1."""
    scale: Literal["std", "none"] = "none"
    """std divides advantages by their group's standard deviation, as in the paper; it favors prompts that are nearly
    always or nearly never answered well (Liu et al., 2025)."""
    rollout: RolloutConfig = field(default_factory=lambda: RolloutConfig(group_size=8))
    optimizer: OptimizerConfig = field(default_factory=policy_optimizer)
    schedule: ScheduleConfig = field(default_factory=policy_schedule)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rollout.group_size < 2:
            raise UserError(
                f"group_size is {self.rollout.group_size}: it must be at least 2, "
                "because answers to the same prompt are compared."
            )


def grpo_task(sampler: RolloutSampler, order: PromptOrder, config: GRPOConfig) -> Task:
    """Return the task of training a policy on groups of its own answers."""
    collector = GRPOCollector(
        sampler=sampler,
        order=order,
        n_prompts=config.rollout.n_prompts,
        group_size=config.rollout.group_size,
        scale=config.scale,
    )
    source = build_rollouts(collector, GRPOBatch, config.rollout)
    loss = partial(
        grpo_loss,
        clip_range=config.clip_range,
        kl_coef=config.kl_coef,
        temperature=config.rollout.temperature,
    )
    return Task(
        model=sampler.policy,
        source=source,
        loss_function=loss,
        optimizers=build_optimizers(sampler.policy, config.optimizer),
        steps=config.rollout.steps,
        schedule=config.schedule,
        max_norm=config.optimizer.max_norm,
        metrics=source.metrics,
    )


def grpo(
    model: GPT,
    tokenizer: Tokenizer,
    *,
    prompts: Sequence[PromptRow],
    reward: Reward,
    reference: GPT | None = None,
    config: GRPOConfig | None = None,
    **settings: Any,
) -> Iterator[StepReport]:
    """Improve a policy by GRPO, yielding a report after each optimizer step.

    Arguments and errors are those of `folio.ppo`, settings those of `GRPOConfig` and its parts. Metrics of a report:
    `reward`, `kl`, `length`, `stop_share` and others of the rollout, `equal_groups`, and those of `grpo_loss`.
    """
    config = from_table(GRPOConfig, settings, "grpo", config)
    order = order_prompts(prompts, model, tokenizer, config.rollout)
    sampler = build_sampler(model, reference, tokenizer, reward, config.rollout)
    sampler.reward.check_columns([prompt.columns for prompt in order.prompts])
    return grpo_task(sampler, order, config).reports()
