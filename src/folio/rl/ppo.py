"""Proximal policy optimization on language models (Schulman et al., 2017; Ouyang et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from folio.config import Fraction, NonNegative, Positive, Settings, from_table
from folio.model.gpt import GPT
from folio.model.score import ActorCritic, ScoreModel
from folio.objectives.ppo import PPOBatch, ppo_loss
from folio.rl.experience import PPOCollector
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
from folio.rl.rewards import ModelReward, WeightedSum
from folio.rl.rollouts import PromptOrder, RolloutSampler
from folio.tokenizer.protocol import Tokenizer
from folio.training.loop import StepReport
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.schedule import ScheduleConfig
from folio.training.task import Task


@dataclass(frozen=True, kw_only=True)
class PPOConfig(Settings):
    """Settings of PPO."""

    kl_coef: NonNegative = 0.05
    """KL penalty coefficient, in reward per nat."""
    clip_range: Positive = 0.2
    """How far an update may move the probability ratio of a token from 1."""
    gamma: Fraction = 1.0
    """Discount per token."""
    gae_lambda: Fraction = 0.95
    """GAE lambda: 0 trusts the critic, 1 uses Monte Carlo returns."""
    value_clip_range: Positive = 0.2
    """How far an update may move the critic's value of a token."""
    vf_coef: NonNegative = 0.1
    """Weight of the value loss."""
    critic_learning_rate: Positive = 1e-3
    """Learning rate of the critic's body."""
    critic_head_learning_rate: Positive = 5e-3
    """Learning rate of the critic's head, which starts at 0."""
    whiten_rewards: bool = False
    """Scale rewards to a standard deviation of 1 in each rollout."""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    optimizer: OptimizerConfig = field(default_factory=policy_optimizer)
    schedule: ScheduleConfig = field(default_factory=policy_schedule)

    @property
    def critic_optimizer(self) -> OptimizerConfig:
        """The policy's optimizer with the critic's learning rates."""
        return replace(
            self.optimizer,
            learning_rate=self.critic_learning_rate,
            embedding_learning_rate=self.critic_learning_rate,
            head_learning_rate=self.critic_head_learning_rate,
        )


def ppo_task(sampler: RolloutSampler, order: PromptOrder, critic: ScoreModel, config: PPOConfig) -> Task:
    """Return the task of training a policy and its critic on rollouts."""
    collector = PPOCollector(
        sampler=sampler,
        critic=critic,
        order=order,
        n_prompts=config.rollout.n_prompts,
        group_size=config.rollout.group_size,
        kl_coef=config.kl_coef,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        whiten_rewards=config.whiten_rewards,
    )
    source = build_rollouts(collector, PPOBatch, config.rollout)
    loss = partial(
        ppo_loss,
        clip_range=config.clip_range,
        value_clip_range=config.value_clip_range,
        vf_coef=config.vf_coef,
        temperature=config.rollout.temperature,
    )
    return Task(
        model=ActorCritic(sampler.policy, critic),
        source=source,
        loss_function=loss,
        optimizers=[
            *build_optimizers(sampler.policy, config.optimizer),
            *build_optimizers(critic, config.critic_optimizer),
        ],
        steps=config.rollout.steps,
        schedule=config.schedule,
        max_norm=config.optimizer.max_norm,
        metrics=source.metrics,
    )


def build_critic(reward: WeightedSum, policy: GPT) -> ScoreModel:
    """Return a critic with the body of the reward model if there is one, else of the policy.

    The reward model comes first because it has already learned what is preferred.

    Its head starts at 0: a reward model has only ever seen whole answers, and its scores of half an answer are worse
    than a constant (explained variance -2.3 on the plays).
    """
    readers = [source.model for source, _ in reward.parts if isinstance(source, ModelReward)]
    with torch.random.fork_rng(devices=()):  # what a new model draws is replaced
        critic = ScoreModel.like(readers[0] if readers else policy)
    torch.nn.init.zeros_(critic.score.weight)
    return critic.to(policy.embedding.weight.device)


def ppo(
    model: GPT,
    tokenizer: Tokenizer,
    *,
    prompts: Sequence[PromptRow],
    reward: Reward,
    reference: GPT | None = None,
    config: PPOConfig | None = None,
    **settings: Any,
) -> Iterator[StepReport]:
    """Improve a policy by PPO, yielding a report after each optimizer step.

    Metrics of a report: `reward`, `kl`, `length`, `stop_share` and others of the rollout, those of `ppo_loss`, and
    `explained_variance` of the critic.

    Args:
        model: the policy, changed in place. A model without dropout: the policy that learns must be the one that sampled.
        tokenizer: must have the tokens of the chat template (`folio.add_chat_tokens`).
        prompts: questions, conversations up to the user's last turn, or rows with one of these as `prompt`, such as
            `{"prompt": "1+1", "answer": "2"}`. Those that leave no room for an answer are left out, with a warning.
        reward: a function of prompt and completion that returns a number, or a reward model. Further parameters of a
            function get columns of the prompt's row, by name. It runs in this process, without a time limit.
        reference: the model to stay near to; by default a copy of `model` as it is now.
        config: all settings at once.
        settings: any setting of `PPOConfig` or its parts by name, such as `rollouts=20` or `kl_coef=0.1`; it overrides
            that of `config`.

    Raises:
        UserError: for an unknown setting, no prompts or one that is no conversation, a character that the tokenizer does
            not know, a reward that fails, or one that asks for a column that a prompt lacks.
    """
    config = from_table(PPOConfig, settings, "ppo", config)
    order = order_prompts(prompts, model, tokenizer, config.rollout)
    sampler = build_sampler(model, reference, tokenizer, reward, config.rollout)
    sampler.reward.check_columns([prompt.columns for prompt in order.prompts])
    return ppo_task(sampler, order, build_critic(sampler.reward, model), config).reports()
