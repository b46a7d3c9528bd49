"""Proximal policy optimization: a model learns to answer so that a reward model likes it, and stays near to itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from rich.console import Console

from folio.errors import UserError
from folio.model.gpt import GPT
from folio.model.score import ScoreModel
from folio.objectives.ppo import PPOBatch, ppo_loss
from folio.report.policy import show_result
from folio.rl.experience import PPOCollector
from folio.rl.rewards import ModelReward, WeightedSum
from folio.runs.directory import RunDirectory
from folio.runs.state import Training
from folio.stages.policy import PolicyConfig, finish, prepare_policy, prepared, rollouts, start_policy
from folio.stages.stage import Prepared, Stage
from folio.training.optimizer import OptimizerConfig, build_optimizers


@dataclass(frozen=True, kw_only=True)
class PPOConfig(PolicyConfig):
    """Everything that decides a run of PPO."""

    kl_coef: float = 0.05
    """What a nat of distance from the reference costs, in rewards."""
    gamma: float = 1.0
    """How much a reward counts a token earlier."""
    gae_lambda: float = 0.95
    """Between the critic's word (0) and what really happened (1)."""
    value_clip_range: float = 0.2
    """How far an update may take the critic's value of a token."""
    vf_coef: float = 0.1
    """Weight of the critic's loss."""
    critic_learning_rate: float = 1e-3
    """Of all of the critic but its head: it has to follow what the policy does."""
    critic_head_learning_rate: float = 5e-3
    """Of its head, which begins at 0."""
    whiten_rewards: bool = False
    """Bring rewards to a standard deviation of 1 in each rollout."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, is_right, allowed in (
            ("kl_coef", 0 <= self.kl_coef < math.inf, "at least 0"),
            ("gamma", 0 <= self.gamma <= 1, "between 0 and 1"),
            ("gae_lambda", 0 <= self.gae_lambda <= 1, "between 0 and 1"),
            ("value_clip_range", self.value_clip_range > 0, "above 0"),
            ("critic_learning_rate", 0 < self.critic_learning_rate < math.inf, "above 0"),
            ("critic_head_learning_rate", 0 < self.critic_head_learning_rate < math.inf, "above 0"),
            ("vf_coef", 0 <= self.vf_coef < math.inf, "at least 0"),
        ):
            if not is_right:
                raise UserError(f"{name} is {getattr(self, name)}: it must be {allowed}.")


def prepare(config: PPOConfig, run: RunDirectory, console: Console) -> Prepared:
    """Policy and critic, and rollouts to learn from."""
    made = prepare_policy(config, run, console)
    runtime, plan = start_policy(made, config, run)
    critic = start_critic(made.writing.reward, made.model)
    collector = PPOCollector(
        sampler=made.writing,
        critic=critic,
        order=made.order,
        n_prompts=config.rollout_size // config.group_size,
        group_size=config.group_size,
        kl_coef=config.kl_coef,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        whiten_rewards=config.whiten_rewards,
    )
    source = rollouts(config, collector, PPOBatch)
    loss = partial(
        ppo_loss,
        clip_range=config.clip_range,
        value_clip_range=config.value_clip_range,
        vf_coef=config.vf_coef,
        temperature=config.temperature,
    )
    training = Training(
        model=made.model,
        critic=critic,
        tokenizer=made.writing.tokenizer,
        source=source,
        groups=source,
        loss_function=loss,
        evaluation=made.evaluation,
        optimizers=[
            *build_optimizers(made.model, config.optimizer, muon_dtype=runtime.compute_dtype),
            *build_optimizers(critic, critic_rates(config), muon_dtype=runtime.compute_dtype),
        ],
        runtime=runtime,
        plan=plan,
        figures=source.metrics,
    )
    return prepared(config, made, training)


def critic_rates(config: PPOConfig) -> OptimizerConfig:
    """The policy's optimizer, with the critic's learning rates."""
    return replace(
        config.optimizer,
        learning_rate=config.critic_learning_rate,
        embedding_learning_rate=config.critic_learning_rate,
        head_learning_rate=config.critic_head_learning_rate,
    )


def start_critic(reward: WeightedSum, policy: GPT) -> ScoreModel:
    """A critic that reads as the reward model does, where there is one, for that knows already what is liked; else as
    the policy. Its head begins at 0: a reward model has only ever seen whole answers, and what it makes of half of one
    is worse than nothing (explained variance -2.3 on the plays, where 0 is a constant's)."""
    readers = [source.model for source, _ in reward.parts if isinstance(source, ModelReward)]
    critic = ScoreModel.like(readers[0] if readers else policy)
    torch.nn.init.zeros_(critic.score.weight)
    return critic.to(policy.embedding.weight.device)


STAGE = Stage("ppo", __doc__, PPOConfig, prepare, finish, show_result)
main = STAGE.main
