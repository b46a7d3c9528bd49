"""Proximal policy optimization: a model learns to answer so that a reward model likes it, and stays near to itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from rich.console import Console

from folio.errors import UserError
from folio.model.gpt import GPT
from folio.model.score import ScoreModel
from folio.objectives.ppo import PPOBatch, ppo_loss
from folio.rl.experience import PPOExperience
from folio.rl.rewards import ModelReward
from folio.rl.rollouts import PromptOrder, Rollouts
from folio.runtime import describe
from folio.stages.policy import PolicyConfig, prepare_policy
from folio.stages.policy_results import finish, show_result
from folio.stages.training import Answers, Training
from folio.stages.tuning import Prepared, Stage, choices
from folio.train.optimizer import OptimizerConfig, build_optimizers
from folio.train.plan import Plan
from folio.train.run import RunDirectory
from folio.train.schedule import ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class PPOConfig(PolicyConfig):
    """Everything that decides a run of PPO."""

    ppo_epochs: int = 1
    """How often a rollout is learned from."""
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
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            optimizer="adamw",
            learning_rate=3e-4,
            embedding_learning_rate=3e-4,
            head_learning_rate=3e-4,
            beta1=0.9,
            beta2=0.95,
            eps=1e-5,
        )
    )
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(warmup_steps=2, decay_fraction=1.0)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ppo_epochs < 1:
            raise UserError(f"ppo_epochs is {self.ppo_epochs}: it must be at least 1.")
        for name, is_right, allowed in (
            ("kl_coef", 0 <= self.kl_coef < math.inf, "at least 0"),
            ("gamma", 0 <= self.gamma <= 1, "between 0 and 1"),
            ("gae_lambda", 0 <= self.gae_lambda <= 1, "between 0 and 1"),
            ("value_clip_range", self.value_clip_range > 0, "above 0"),
            ("vf_coef", 0 <= self.vf_coef < math.inf, "at least 0"),
        ):
            if not is_right:
                raise UserError(f"{name} is {getattr(self, name)}: it must be {allowed}.")


def prepare(config: PPOConfig, run: RunDirectory, console: Console) -> Prepared:
    """Policy and critic, and rollouts to learn from."""
    made = prepare_policy(config, run, console)

    def plan() -> Plan:
        minibatches = -(-config.rollout_size // config.minibatch_size)
        return Plan(
            model=made.model.config,
            micro_batch_size=config.micro_batch_size,
            accumulation=-(-config.minibatch_size // config.micro_batch_size),
            steps=config.rollouts * config.ppo_epochs * minibatches,
        )

    runtime, decided = choices(run, config.runtime, made.digest, plan)
    torch.manual_seed(config.seed)
    made.move(runtime)
    critic = start_critic(made.writing.reward.parts[0][0], made.model)
    experience = PPOExperience(
        writing=made.writing,
        critic=critic,
        order=PromptOrder(made.prompts, config.seed),
        rollout_size=config.rollout_size,
        kl_coef=config.kl_coef,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        whiten_rewards=config.whiten_rewards,
    )
    source = Rollouts(
        experience,
        PPOBatch,
        passes=config.ppo_epochs,
        minibatch_size=config.minibatch_size,
        micro_batch_size=config.micro_batch_size,
        seed=config.seed,
    )
    training = Training(
        model=made.model,
        critic=critic,
        tokenizer=made.tokenizer,
        source=source,
        groups=source,
        loss_function=partial(
            ppo_loss,
            clip_range=config.clip_range,
            value_clip_range=config.value_clip_range,
            vf_coef=config.vf_coef,
            temperature=config.temperature,
        ),
        evaluation=made.evaluation,
        optimizers=[
            optimizer
            for model, rates in (
                (made.model, config.optimizer),
                (critic, critic_rates(config)),
            )
            for optimizer in build_optimizers(model, rates, muon_dtype=runtime.compute_dtype)
        ],
        runtime=runtime,
        plan=decided,
        figures=source.figures,
    )
    facts = {
        **made.facts,
        "machine": f"{describe(runtime.device)}; {runtime}",
        "training": f"{config.rollouts:,} rollouts of {config.rollout_size} answers, each learned from "
        f"{config.ppo_epochs} times: {decided.steps:,} steps",
    }
    shown = ("reward", "kl", "val_reward", "val_gold")
    return Prepared(training, Answers(config.prompt), facts, config.data, made.digest, shown)


def critic_rates(config: PPOConfig) -> OptimizerConfig:
    """The policy's optimizer, with the critic's learning rates."""
    return replace(
        config.optimizer,
        learning_rate=config.critic_learning_rate,
        embedding_learning_rate=config.critic_learning_rate,
        head_learning_rate=config.critic_head_learning_rate,
    )


def start_critic(reward: object, policy: GPT) -> ScoreModel:
    """A critic that reads as the reward model does, where there is one, for that knows already what is liked; else as
    the policy. Its head begins at 0: a reward model has only ever seen whole answers, and what it makes of half of one
    is worse than nothing (explained variance -2.3 on the plays, where 0 is a constant's)."""
    critic = ScoreModel.like(reward.model if isinstance(reward, ModelReward) else policy)
    torch.nn.init.zeros_(critic.score.weight)
    return critic.to(policy.embedding.weight.device)


STAGE = Stage("ppo", __doc__, PPOConfig, prepare, finish, show_result)
main = STAGE.main
