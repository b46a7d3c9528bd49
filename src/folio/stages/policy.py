"""What the stages share in which a policy learns from rewards: settings, prompts, rewards, held-out prompts."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro
from rich.console import Console

from folio.checkpoint import newest_whole
from folio.data.known import find_prompts
from folio.data.prompts import sample_questions
from folio.data.records import spread
from folio.errors import UserError
from folio.log import times
from folio.model.directory import weights_digest
from folio.model.gpt import GPT
from folio.model.score import ScoreModel
from folio.report.rl_figure import draw_history
from folio.report.rl_history import History
from folio.rl.evaluation import PolicyEvaluation
from folio.rl.experience import BatchT, RolloutBatches
from folio.rl.rollouts import Prompt, PromptOrder, RolloutSampler
from folio.runs.directory import RunDirectory
from folio.runs.load import find_model, load_for_chat
from folio.runs.rewards import is_function, load_rewards, models_in, split_weight
from folio.runs.samples import Answers
from folio.runs.state import Training
from folio.runtime import Runtime, RuntimeConfig, describe
from folio.stages.stage import Prepared, TuningConfig, choices, uncompiled
from folio.tokenizer.chat_template import Message, prompt_ids
from folio.tokenizer.protocol import Tokenizer
from folio.training.optimizer import OptimizerConfig
from folio.training.plan import Plan
from folio.training.schedule import ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(TuningConfig):
    """What every stage is told in which a policy learns from rewards."""

    model: tyro.conf.Positional[Path] = Path("runs/shakespeare-sft")
    """Where to start, and what to stay near to: a run, a checkpoint in it, or any model directory. Or a recipe."""
    data: str = "shakespeare"
    """Prompts: a .jsonl, .json or .parquet file with `prompt` or `messages` in each row, a folder of .jsonl and
    .parquet files, or a dataset of the Hugging Face Hub as OWNER/NAME:SUBSET:SPLIT, where subset and split may be left
    out. shakespeare takes the plays' speeches, arithmetic sums, gsm8k word problems."""
    validation: str | None = None
    """Prompts to measure on, in the same form; by default the last tenth of the data."""
    reward: tuple[str, ...] = ()
    """What to strive for: runs or directories of reward models, and functions, as file.py:name; each may have a
    weight, as in file.py:name=0.5. A function gets prompt and completion, and gives a number."""
    gold: tuple[str, ...] = ()
    """What really counts, in the same form: measured along the way, never learned from."""
    reward_seconds: float = 10.0
    """How long a reward function may take for one completion."""
    missing_stop_penalty: float = 1.0
    """Taken off the reward of an answer that did not end by itself."""
    rollouts: int = 40
    """How often the policy answers prompts and then learns from that."""
    rollout_size: int = 64
    """Answers in a rollout."""
    group_size: int = 1
    """How many of them are answers to the same prompt, which is then read but once; it must divide rollout_size."""
    minibatch_size: int = 64
    """Answers in an optimizer step."""
    micro_batch_size: int = 8
    """Answers that go through the model together; fewer need less memory and change nothing else."""
    passes: int = 1
    """How often a rollout is learned from (the epochs of PPO)."""
    max_new_tokens: int = 120
    """Most tokens in an answer."""
    temperature: float = 1.0
    """Of the sampling, and so of the distribution that is improved."""
    clip_range: float = 0.2
    """By what share an update may change how likely a token is."""
    validation_prompts: int = 64
    """How many of the held-out prompts are answered in each evaluation."""
    prompt: tuple[str, ...] = ()
    """What the samples along the way answer; by default three of the held-out questions."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            optimizer="adamw",
            learning_rate=2e-4,
            embedding_learning_rate=2e-4,
            head_learning_rate=2e-4,
            beta1=0.9,
            beta2=0.95,
            eps=1e-5,
        )
    )
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(warmup_steps=2, decay_fraction=1.0)
    )
    runtime: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(compile="off"))

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (
            "rollouts",
            "rollout_size",
            "group_size",
            "minibatch_size",
            "micro_batch_size",
            "passes",
            "max_new_tokens",
        )
        for name in (*sizes, "validation_prompts"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 1.")
        if self.rollout_size % self.group_size:
            raise UserError(
                f"rollout_size ({self.rollout_size}) must be a multiple of group_size ({self.group_size})."
            )
        for name in ("temperature", "clip_range", "reward_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} is {getattr(self, name)}: it must be above 0.")
        if not 0 <= self.missing_stop_penalty < math.inf:
            raise UserError(f"missing_stop_penalty is {self.missing_stop_penalty}: it must be at least 0.")


@dataclass(frozen=True)
class Policy:
    """What such a stage works with.

    writing: how it answers, its reference and its rewards. asked: what the samples along the way answer. origin: where
    the prompts are from, in words. digest: what tells prompts, reference and reward models from others. (A function may
    be mended between a run's parts.)
    """

    writing: RolloutSampler
    order: PromptOrder
    evaluation: PolicyEvaluation
    asked: Sequence[str]
    origin: str
    digest: str
    facts: dict[str, str]

    @property
    def model(self) -> GPT:
        """The policy, which learns."""
        return self.writing.policy

    @property
    def reward_models(self) -> list[ScoreModel]:
        """Those among the sources of the reward, and of the gold reward."""
        gold = self.evaluation.gold
        return [*models_in(self.writing.reward), *(models_in(gold) if gold else ())]


def prepare_policy(config: PolicyConfig, run: RunDirectory, console: Console) -> Policy:
    """Policy, reference, prompts and rewards. Raises UserError for what is missing or does not fit together."""
    if not config.reward:
        raise UserError("there is nothing to strive for: name a reward model or file.py:name with --reward.")
    start = find_model(config.model)
    # No dropout: the policy that learns must be the one that wrote, or the first ratios are not 1.
    checkpoint = newest_whole(run.checkpoints)[0] if run.exists else None
    policy, tokenizer = load_for_chat(checkpoint or start, dropout=0.0)
    reference, _ = load_for_chat(start, dropout=0.0)
    found = find_prompts(config.data, config.validation)
    room = policy.config.block_size - config.max_new_tokens
    prompts, held_out = (fitting(each, tokenizer, room, console) for each in (found.train, found.validation))
    held_out = list(spread(held_out, config.validation_prompts))
    reward, gold = (
        load_rewards(each, tokenizer, config.reward_seconds) for each in (config.reward, config.gold)
    )
    writing = RolloutSampler(
        policy=policy,
        reference=reference.eval().requires_grad_(False),
        tokenizer=tokenizer,
        reward=reward,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        missing_stop_penalty=config.missing_stop_penalty,
        batch_size=config.micro_batch_size,
    )
    return Policy(
        writing=writing,
        order=PromptOrder(prompts, config.seed),
        evaluation=PolicyEvaluation(writing, held_out, gold if config.gold else None, config.seed),
        asked=config.prompt or sample_questions(found.validation),
        origin=found.origin,
        digest=digest_of(config, [found.train, found.validation], start),
        facts={
            "prompts": f"{len(prompts):,}, and {len(held_out):,} to measure on: {found.origin}",
            "reward": ", ".join(config.reward) + (f"; gold: {', '.join(config.gold)}" if config.gold else ""),
        },
    )


def start_policy(made: Policy, config: PolicyConfig, run: RunDirectory) -> tuple[Runtime, Plan]:
    """Decide where to compute and how many steps to make, and take all models there."""

    def plan() -> Plan:
        return Plan(
            model=made.model.config,
            micro_batch_size=config.micro_batch_size,
            accumulation=math.ceil(config.minibatch_size / config.micro_batch_size),
            steps=config.rollouts * config.passes * math.ceil(config.rollout_size / config.minibatch_size),
        )

    runtime, decided = choices(run, uncompiled(config.runtime), made.digest, plan)
    torch.manual_seed(config.seed)
    for model in (made.writing.policy, made.writing.reference, *made.reward_models):
        model.to(runtime.device)
        model.compute_dtype = runtime.compute_dtype
    return runtime, decided


def rollouts(
    config: PolicyConfig,
    collect: Callable[[int], tuple[BatchT, Mapping[str, float]]],
    batch_type: type[BatchT],
) -> RolloutBatches[BatchT]:
    """Return the source of a run."""
    return RolloutBatches(
        collect,
        batch_type,
        epochs=config.passes,
        minibatch_size=config.minibatch_size,
        micro_batch_size=config.micro_batch_size,
        seed=config.seed,
    )


def prepared(config: PolicyConfig, made: Policy, training: Training) -> Prepared:
    """A run that can begin, or go on."""
    facts = {
        **made.facts,
        "machine": f"{describe(training.runtime.device)}; {training.runtime}",
        "training": f"{config.rollouts:,} rollouts of {config.rollout_size} answers, each learned from "
        f"{times(config.passes)}: {training.plan.steps:,} steps",
    }
    shown = ("reward", "kl", "val_reward", "val_gold")
    return Prepared(training, Answers(made.asked), facts, made.origin, made.digest, shown)


def finish(run: RunDirectory, prepared: Prepared) -> None:
    """Draw rl.png."""
    draw_history(History.of(run), str(run.path), run.rl_plot)


def digest_of(config: PolicyConfig, prompts: Sequence[object], start: Path) -> str:
    """What tells a run's prompts, its start, a model directory, and its reward models from others."""
    parts = [json.dumps(prompts), weights_digest(start)]
    names = [split_weight(spec)[0] for spec in (*config.reward, *config.gold)]
    parts += [weights_digest(find_model(Path(name))) for name in names if not is_function(name)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def fitting(
    prompts: Sequence[Sequence[Message]], tokenizer: Tokenizer, room: int, console: Console
) -> list[Prompt]:
    """Prompts as ids, without those that leave no room for an answer, which are counted.

    Raises UserError where none is left.
    """
    made = [tokenized(messages, tokenizer) for messages in prompts]
    kept = [prompt for prompt in made if len(prompt.ids) <= room]
    if not kept:
        raise UserError(
            f"none of {len(made)} prompts leaves room for an answer in the model's context: "
            f"{max(room, 0)} tokens are left for it. Make --max-new-tokens smaller."
        )
    if len(kept) < len(made):
        console.print(
            f"{len(made) - len(kept):,} of {len(made):,} prompts are longer than {room} tokens and left out.",
            soft_wrap=True,
        )
    return kept


def tokenized(messages: Sequence[Message], tokenizer: Tokenizer) -> Prompt:
    """A prompt as ids. Raises UserError, showing it, for a character that the tokenizer does not know."""
    asked = messages[-1]["content"]
    try:
        return Prompt(asked, prompt_ids(tokenizer, messages))
    except UserError as error:
        raise UserError(f"the prompt {asked[:60]!r}: {error}") from None
