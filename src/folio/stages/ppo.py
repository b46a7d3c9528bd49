"""Proximal policy optimization: improve a model's answers by a reward, and keep it near to its start."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console

from folio.config import Settings
from folio.data.prompts import PromptMessages
from folio.data.records import Parts
from folio.report.policy import show_result
from folio.rl.ppo import PPOConfig, build_critic, ppo_task
from folio.runs.directory import RunDirectory
from folio.runs.samples import AnswersConfig
from folio.runs.settings import RunConfig
from folio.runs.state import Training
from folio.runtime import RuntimeConfig
from folio.stages.policy import (
    PromptsConfig,
    RewardsConfig,
    prepare_policy,
    read_prompt_inputs,
    rollout_budget,
)
from folio.stages.stage import Inputs, Prepared, Stage, default_run


@dataclass(frozen=True, kw_only=True)
class PPORunConfig(Settings):
    """Settings of `folio ppo`."""

    model: tyro.conf.Positional[Path] = Path("runs/shakespeare-sft")
    """Model to start from and to stay near to: a run, a checkpoint in it, or any model directory. Or a recipe."""
    prompts: PromptsConfig = field(default_factory=PromptsConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    output: RunConfig = field(default_factory=RunConfig)
    training: PPOConfig = field(default_factory=PPOConfig)
    samples: AnswersConfig = field(default_factory=AnswersConfig)
    runtime: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(compile="off"))


def read(config: PPORunConfig) -> Inputs[Parts[PromptMessages]]:
    """Read the prompts."""
    return read_prompt_inputs(config.prompts, config.rewards, config.model)


def prepare(
    config: PPORunConfig, inputs: Inputs[Parts[PromptMessages]], run: RunDirectory, console: Console
) -> Prepared:
    """Load the policy, and build its critic."""
    settings = config.training
    policy = prepare_policy(
        config.model,
        inputs,
        config.prompts,
        config.rewards,
        settings.rollout,
        config.runtime,
        run,
    )
    critic = build_critic(policy.sampler.reward, policy.sampler.policy)
    training = Training(
        model=policy.sampler.policy,
        critic=critic,
        tokenizer=policy.sampler.tokenizer,
        task=ppo_task(policy.sampler, policy.order, critic, settings),
        evaluation=policy.evaluation,
        runtime=policy.runtime,
        plan=policy.plan,
        budget=rollout_budget(settings.rollout, config.output.minutes),
    )
    return policy.prepared(training, run, settings.rollout, config.samples)


STAGE = Stage(
    name="ppo",
    description=__doc__,
    config=PPORunConfig,
    output=lambda config: config.output.run or default_run(config.model, "ppo"),
    read=read,
    prepare=prepare,
    show=show_result,
    length=lambda config: ("rollouts", config.training.rollout.rollouts),
    makes_assistant=True,
)
main = STAGE.main
