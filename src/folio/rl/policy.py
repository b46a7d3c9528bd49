"""Rollouts for PPO and GRPO: their settings, and how sampler, reward and prompts are put together."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from folio.config import Count, Factor, Few, Many, NonNegative, Seed, Settings
from folio.errors import UserError
from folio.model.gpt import GPT
from folio.model.score import ScoreModel
from folio.rl.experience import BatchT, RolloutBatches
from folio.rl.functions import LocalFunction, RewardFunction
from folio.rl.prompts import PromptRow, encode_prompts
from folio.rl.rewards import FunctionReward, ModelReward, WeightedSum
from folio.rl.rollouts import PromptOrder, RolloutSampler
from folio.tokenizer.protocol import Tokenizer
from folio.training.optimizer import OptimizerConfig
from folio.training.schedule import ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class RolloutConfig(Settings):
    """Settings of the rollouts that a policy learns from."""

    rollouts: Count = 40
    """Number of rollouts."""
    rollout_size: Many = 64
    """Answers in a rollout."""
    group_size: Many = 1
    """Answers to the same prompt, which is then read only once; must divide rollout_size."""
    minibatch_size: Many = 64
    """Answers per optimizer step."""
    micro_batch_size: Many = 8
    """Answers per forward pass; fewer need less memory and change nothing else."""
    epochs: Few = 1
    """Passes over each rollout."""
    max_new_tokens: Count = 120
    """Maximum number of tokens in an answer."""
    temperature: Factor = 1.0
    """Temperature of the sampling, and so of the distribution that is improved."""
    missing_stop_penalty: NonNegative = 1.0
    """Subtracted from the reward of an answer that did not end by itself."""
    seed: Seed = 1
    """Seed of the order of the prompts and of the sampling."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rollout_size % self.group_size:
            raise UserError(
                f"rollout_size ({self.rollout_size}) must be a multiple of group_size ({self.group_size})."
            )

    @property
    def n_prompts(self) -> int:
        """Prompts per rollout."""
        return self.rollout_size // self.group_size

    @property
    def accumulation(self) -> int:
        """Micro-batches per optimizer step."""
        return math.ceil(self.minibatch_size / self.micro_batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.rollouts * self.steps_per_rollout

    @property
    def steps_per_rollout(self) -> int:
        """Optimizer steps that learn from the same rollout."""
        return self.epochs * math.ceil(self.rollout_size / self.minibatch_size)


def policy_optimizer() -> OptimizerConfig:
    """Return the default optimizer of a policy: the papers' Adam, with a rate for models as small as these."""
    return OptimizerConfig(
        optimizer="adamw",
        learning_rate=2e-4,
        embedding_learning_rate=2e-4,
        head_learning_rate=2e-4,
        beta1=0.9,
        beta2=0.95,
        eps=1e-5,
    )


def policy_schedule() -> ScheduleConfig:
    """Return the default schedule of a policy's learning rate: it falls from the start to the end."""
    return ScheduleConfig(warmup_steps=2, decay_fraction=1.0)


def build_rollouts(
    collect: Callable[[int], tuple[BatchT, Mapping[str, float]]],
    batch_type: type[BatchT],
    config: RolloutConfig,
) -> RolloutBatches[BatchT]:
    """Return the source of step-groups of a run: `collect` makes the batch of a rollout."""
    return RolloutBatches(
        collect,
        batch_type,
        epochs=config.epochs,
        minibatch_size=config.minibatch_size,
        micro_batch_size=config.micro_batch_size,
        seed=config.seed,
    )


Reward = RewardFunction | ScoreModel | WeightedSum


def build_sampler(
    model: GPT, reference: GPT | None, tokenizer: Tokenizer, reward: Reward, config: RolloutConfig
) -> RolloutSampler:
    """Return what samples and scores a policy's answers.

    reference: by default a copy of the model as it is now. reward: a function of prompt and completion, a reward model,
    or a weighted sum of such sources. Raises UserError for a model with dropout.
    """
    if model.config.dropout:
        raise UserError(
            f"the model has dropout {model.config.dropout}: load it with dropout=0.0, or the policy that learns would not "
            "be the one that sampled."
        )
    frozen = copy.deepcopy(model).requires_grad_(False) if reference is None else reference
    return RolloutSampler(
        policy=model,
        reference=frozen.eval(),
        tokenizer=tokenizer,
        reward=as_reward(reward, tokenizer),
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        missing_stop_penalty=config.missing_stop_penalty,
        batch_size=config.micro_batch_size,
    )


def as_reward(reward: Reward, tokenizer: Tokenizer) -> WeightedSum:
    """Return the sum that a function, a reward model or a sum stands for. A function runs without a time limit."""
    if isinstance(reward, WeightedSum):
        return reward
    if isinstance(reward, ScoreModel):
        return WeightedSum([(ModelReward(reward.eval(), tokenizer.special_ids["<|pad|>"]), 1.0)])
    name = getattr(reward, "__name__", "reward")
    return WeightedSum([(FunctionReward(name, LocalFunction(reward)), 1.0)])


def order_prompts(
    prompts: Sequence[PromptRow], model: GPT, tokenizer: Tokenizer, config: RolloutConfig
) -> PromptOrder:
    """Return the order in which rollouts take prompts. Warns and raises as `encode_prompts`."""
    room = model.config.block_size - config.max_new_tokens
    return PromptOrder(encode_prompts(prompts, tokenizer, room), config.seed)
