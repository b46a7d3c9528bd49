"""Group relative policy optimization: improve a model's answers by comparing answers to the same prompt."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console

from folio.config import Settings
from folio.data.prompts import PromptMessages
from folio.data.records import Parts
from folio.report.policy import show_result
from folio.rl.grpo import GRPOConfig, grpo_task
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
class GRPORunConfig(Settings):
    """Settings of `folio grpo`."""

    model: tyro.conf.Positional[Path] = Path("runs/shakespeare-sft")
    """Model to start from and to stay near to: a run, a checkpoint in it, or any model directory. Or a recipe."""
    prompts: PromptsConfig = field(default_factory=PromptsConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    output: RunConfig = field(default_factory=RunConfig)
    training: GRPOConfig = field(default_factory=GRPOConfig)
    samples: AnswersConfig = field(default_factory=AnswersConfig)
    runtime: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(compile="off"))


def read(config: GRPORunConfig) -> Inputs[Parts[PromptMessages]]:
    """Read the prompts."""
    return read_prompt_inputs(config.prompts, config.rewards, config.model)


def prepare(
    config: GRPORunConfig, inputs: Inputs[Parts[PromptMessages]], run: RunDirectory, console: Console
) -> Prepared:
    """Load the policy."""
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
    training = Training(
        model=policy.sampler.policy,
        tokenizer=policy.sampler.tokenizer,
        task=grpo_task(policy.sampler, policy.order, settings),
        evaluation=policy.evaluation,
        runtime=policy.runtime,
        plan=policy.plan,
        budget=rollout_budget(settings.rollout, config.output.minutes),
    )
    return policy.prepared(training, run, settings.rollout, config.samples)


STAGE = Stage(
    name="grpo",
    description=__doc__,
    config=GRPORunConfig,
    output=lambda config: config.output.run or default_run(config.model, "grpo"),
    read=read,
    prepare=prepare,
    show=show_result,
    length=lambda config: ("rollouts", config.training.rollout.rollouts),
    makes_assistant=True,
)
main = STAGE.main
