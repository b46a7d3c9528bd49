"""What PPO and GRPO share as commands: settings, and loading policy, reference, prompts and rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from folio.checkpoint import newest_valid
from folio.config import Count, Positive, Settings, Source
from folio.data.characters import require_known
from folio.data.known import find_prompts
from folio.data.prompts import PromptMessages, sample_questions, texts_of
from folio.data.records import Parts, spread
from folio.errors import UserError
from folio.log import format_count, format_times
from folio.report.rl_figure import draw_history
from folio.report.rl_history import History
from folio.rl.evaluation import PolicyEvaluation
from folio.rl.policy import RolloutConfig, build_sampler
from folio.rl.prompts import encode_prompts
from folio.rl.rollouts import PromptOrder, RolloutSampler
from folio.runs.budget import Budget
from folio.runs.default_data import named_or_default
from folio.runs.directory import RunDirectory
from folio.runs.load import find_model, load_for_chat
from folio.runs.rewards import load_rewards, model_paths, models_in
from folio.runs.samples import Answers, AnswersConfig
from folio.runs.state import Training
from folio.runtime import Runtime, RuntimeConfig, describe, for_varying_lengths
from folio.stages.stage import Inputs, Prepared, choose_runtime, digest_of, metrics_before
from folio.training.plan import Plan


@dataclass(frozen=True, kw_only=True)
class PromptsConfig(Settings):
    """Where prompts are read from."""

    data: tuple[Source, ...] = ()
    """Prompts: a .jsonl, .json, .csv or .parquet file with `prompt` or `messages` in each row, a folder of them, or a
    dataset of the Hugging Face Hub as OWNER/NAME:SUBSET:SPLIT, where subset and split may be left out; or several of these.
    instructions:TEXT makes requests of a text, requests:TEXT those whose answers can be better or worse; shakespeare takes
    the plays' speeches, arithmetic sums, gsm8k word problems. By default those that the model was fine-tuned on."""
    validation: Source | None = None
    """Held-out prompts, in the same form; by default the files of a folder that are named so, or else a tenth of the data."""
    validation_prompts: Count = 64
    """Number of held-out prompts that are answered in each evaluation."""


@dataclass(frozen=True, kw_only=True)
class RewardsConfig(Settings):
    """Where rewards come from."""

    reward: tuple[Source, ...] = ()
    """Reward sources: runs or directories of reward models, functions, as file.py:name, and likelihood:RUN, which says how
    likely a base model finds a completion, in nats a character; each may have a weight, as in file.py:name=0.5. A function
    gets prompt and completion, and returns a number; further parameters are columns of the prompts."""
    gold: tuple[Source, ...] = ()
    """Gold reward sources, in the same form: evaluated, never learned from."""
    reward_seconds: Positive = 10.0
    """Time limit of a reward function for one completion. Each runs in a process of its own."""


@dataclass(frozen=True)
class Policy:
    """A policy with all that it learns from.

    questions: what the samples along the way answer.
    """

    sampler: RolloutSampler
    order: PromptOrder
    evaluation: PolicyEvaluation
    questions: Sequence[str]
    facts: dict[str, str]
    runtime: Runtime
    plan: Plan

    def prepared(
        self, training: Training, run: RunDirectory, rollout: RolloutConfig, samples: AnswersConfig
    ) -> Prepared:
        """Return a run of this policy that is ready to begin, or to be resumed."""
        facts = {
            **self.facts,
            "machine": f"{describe(training.runtime.device)}; {training.runtime}",
            "training": f"{format_count(rollout.rollouts, 'rollout')} of {format_count(rollout.rollout_size, 'answer')}, each learned from "
            f"{format_times(rollout.epochs)}: {format_count(training.task.steps, 'step')}",
        }
        return Prepared(
            training=training,
            samples=Answers(samples.prompt or self.questions, samples.sample_tokens),
            finish=draw_rollouts,
            facts=facts,
            before=metrics_before(training, run),
            shown=("reward", "kl", "val_reward", "val_gold"),
        )


def read_prompt_inputs(
    prompts: PromptsConfig, rewards: RewardsConfig, model: Path
) -> Inputs[Parts[PromptMessages]]:
    """Read the prompts.

    Their digest covers their columns, the policy and the reward models, but no function: it may be fixed in a run.
    """
    find_model(model)  # a name that was mistyped is told first
    if not rewards.reward:
        raise UserError("--reward is required: name a reward model or file.py:name.")
    parts = find_prompts(*named_or_default(prompts.data, prompts.validation, model))
    models = model_paths((*rewards.reward, *rewards.gold))
    # What is nothing but a prompt is digested as it was by versions that read no columns.
    read = [
        [[each, each.columns] if each.columns.keys() - {"prompt"} else each for each in part]
        for part in (parts.train, parts.validation)
    ]
    return Inputs(parts, parts.origin, digest_of(read, model, *models))


def prepare_policy(
    model: Path,
    inputs: Inputs[Parts[PromptMessages]],
    prompts: PromptsConfig,
    rewards: RewardsConfig,
    rollout: RolloutConfig,
    runtime: RuntimeConfig,
    run: RunDirectory,
) -> Policy:
    """Load policy, reference and rewards. Raises UserError for what is missing or does not fit together."""
    start = find_model(model)
    # No dropout: the policy that learns must be the one that sampled, or the first ratios are not 1.
    checkpoint = newest_valid(run.checkpoints)[0]
    policy, tokenizer = load_for_chat(checkpoint or start, dropout=0.0)
    reference, _ = load_for_chat(start, dropout=0.0)
    found = inputs.data
    require_known(tokenizer, texts_of((*found.train, *found.validation)))
    room = policy.config.block_size - rollout.max_new_tokens
    encoded, held_out = (encode_prompts(part, tokenizer, room) for part in (found.train, found.validation))
    held_out = list(spread(held_out, prompts.validation_prompts))
    reward, gold = (
        load_rewards(each, tokenizer, rewards.reward_seconds) for each in (rewards.reward, rewards.gold)
    )
    for each in (reward, gold):
        each.check_columns([prompt.columns for prompt in (*encoded, *held_out)])
    sampler = build_sampler(policy, reference.requires_grad_(False), tokenizer, reward, rollout)
    chosen = choose_runtime(for_varying_lengths(runtime), run)
    torch.manual_seed(rollout.seed)
    chosen.place(policy, reference, *models_in(reward), *models_in(gold))
    return Policy(
        sampler=sampler,
        order=PromptOrder(encoded, rollout.seed),
        evaluation=PolicyEvaluation(sampler, held_out, gold if rewards.gold else None, rollout.seed),
        questions=sample_questions(found.validation),
        facts={
            "prompts": f"{len(encoded):,} for training, {len(held_out):,} held out: {found.origin}",
            "reward": ", ".join(rewards.reward)
            + (f"; gold: {', '.join(rewards.gold)}" if rewards.gold else ""),
        },
        runtime=chosen,
        plan=Plan(
            model=policy.config,
            micro_batch_size=rollout.micro_batch_size,
            accumulation=rollout.accumulation,
            steps=rollout.steps,
        ),
    )


def rollout_budget(rollout: RolloutConfig, minutes: float | None) -> Budget:
    """Return the time for a run, whose steps end with a rollout."""
    return Budget.of_minutes(minutes, rollout.steps, multiple=rollout.steps_per_rollout)


def draw_rollouts(run: RunDirectory) -> None:
    """Draw rl.png."""
    draw_history(History.from_run(run), str(run.path), run.rl_plot)
