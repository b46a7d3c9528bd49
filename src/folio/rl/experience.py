"""From rollouts to training batches: collect a rollout, compute its advantages, cut it into minibatches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from folio.batch import Completions
from folio.hashing import hash64
from folio.model.score import ScoreModel
from folio.model.shared_prefix import SharedPrefixBatch
from folio.objectives.grpo import GRPOBatch
from folio.objectives.ppo import PPOBatch
from folio.rl.advantages import gae, group_advantages, scale_by_group_std, token_rewards, whiten
from folio.rl.rollouts import PromptOrder, Rollout, RolloutSampler


@dataclass(frozen=True, kw_only=True)
class PPOCollector:
    """Collects rollouts for PPO, with advantages from a critic (generalized advantage estimation).

    kl_coef, gamma, gae_lambda: see `token_rewards` and `gae`. whiten_rewards: scale the rewards of each rollout to a
    standard deviation of 1.
    """

    sampler: RolloutSampler
    critic: ScoreModel
    order: PromptOrder
    n_prompts: int
    group_size: int
    kl_coef: float
    gamma: float
    gae_lambda: float
    whiten_rewards: bool

    def __call__(self, iteration: int) -> tuple[PPOBatch, Mapping[str, float]]:
        """Return a rollout, given by its number from 0, and its metrics.

        Metrics: those of `Rollout`, and explained_variance of the critic.
        """
        rollout = sample_groups(self.sampler, self.order, iteration, self.n_prompts, self.group_size)
        mask = rollout.mask
        values = self._values(rollout.completions)
        rewards = token_rewards(rollout.scores, rollout.logprobs, rollout.ref_logprobs, mask, self.kl_coef)
        if self.whiten_rewards:
            rewards = whiten(rewards, mask, mean=None)
        advantages, returns = gae(rewards, values, mask, gamma=self.gamma, gae_lambda=self.gae_lambda)
        batch = PPOBatch(
            ids=rollout.completions.ids,
            mask=rollout.completions.mask,
            old_logprobs=rollout.logprobs,
            old_values=values,
            advantages=whiten(advantages, mask),
            returns=returns,
        )
        return batch, {**rollout.metrics(), "explained_variance": explained_variance(values, returns, mask)}

    @torch.no_grad()
    def _values(self, completions: Completions) -> Tensor:
        """Return (B, T - 1), the critic's value before each sampled token."""

        def values(part: Completions) -> Tensor:
            return self.critic.scores(SharedPrefixBatch.from_completions(part).hidden_states(self.critic))

        return self.sampler.per_token(completions, values)


@dataclass(frozen=True, kw_only=True)
class GRPOCollector:
    """Collects rollouts for GRPO, whose advantages compare the completions of the same prompt.

    scale: "std" divides advantages by the standard deviation of their group, "none" does not.
    """

    sampler: RolloutSampler
    order: PromptOrder
    n_prompts: int
    group_size: int
    scale: Literal["std", "none"]

    def __call__(self, iteration: int) -> tuple[GRPOBatch, Mapping[str, float]]:
        """Return a rollout, given by its number from 0, and its metrics.

        Metrics: those of `Rollout`, and equal_groups, the share of prompts whose completions all have the same score:
        their advantages are 0.
        """
        rollout = sample_groups(self.sampler, self.order, iteration, self.n_prompts, self.group_size)
        advantages = group_advantages(rollout.scores, self.group_size)
        if self.scale == "std":
            advantages = scale_by_group_std(advantages, self.group_size)
        groups = rollout.scores.view(-1, self.group_size)
        equal_groups = (groups.amax(1) == groups.amin(1)).float().mean().item()
        batch = GRPOBatch(
            ids=rollout.completions.ids,
            mask=rollout.completions.mask,
            old_logprobs=rollout.logprobs,
            ref_logprobs=rollout.ref_logprobs,
            advantages=advantages[:, None] * rollout.mask,
        )
        return batch, {**rollout.metrics(), "equal_groups": equal_groups}


def sample_groups(
    sampler: RolloutSampler, order: PromptOrder, iteration: int, n_prompts: int, group_size: int
) -> Rollout:
    """Sample group_size completions, side by side, of each of a rollout's n_prompts prompts."""
    prompts = [prompt for prompt in order.take(iteration, n_prompts) for _ in range(group_size)]
    return sampler.sample(prompts, seed=int(hash64(order.seed, iteration) >> np.uint64(1)))  # below 2**63


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """Return 1 - Var(returns - values) / Var(returns): 1 for perfect values, 0 for constant ones. All: (B, T)."""
    kept = mask.bool()
    errors, targets = (returns - values)[kept], returns[kept]
    return float(1 - errors.var(correction=0) / targets.var(correction=0).clamp(min=1e-12))


BatchT = TypeVar("BatchT", bound=Completions)


class RolloutBatches(Generic[BatchT]):
    """An endless source of step-groups: lists of micro-batches, one list for each optimizer step.

    Each rollout is trained on for some epochs, in a new order in each, and then replaced by the next one. The current
    rollout came from earlier weights, so it is part of the state.

    collect:           the number of a rollout, from 0 -> its batch and metrics.
    batch_type:        class of the batch.
    epochs:            passes over each rollout.
    minibatch_size:    completions per optimizer step.
    micro_batch_size:  completions per forward pass; it changes no gradient.
    """

    def __init__(
        self,
        collect: Callable[[int], tuple[BatchT, Mapping[str, float]]],
        batch_type: type[BatchT],
        *,
        epochs: int,
        minibatch_size: int,
        micro_batch_size: int,
        seed: int,
    ) -> None:
        self.collect = collect
        self.batch_type = batch_type
        self.epochs = epochs
        self.minibatch_size = minibatch_size
        self.micro_batch_size = micro_batch_size
        self.seed = seed
        self.iteration = 0
        """Rollouts collected."""
        self.step = 0
        """Step-groups taken of the current rollout."""
        self.batch: BatchT | None = None
        """The current rollout."""
        self.rollout_metrics: Mapping[str, float] = {}

    def __iter__(self) -> Iterator[list[BatchT]]:
        return self

    def __next__(self) -> list[BatchT]:
        if self.batch is None or self.step == self.epochs * self._steps_per_epoch(self.batch):
            self.batch, self.rollout_metrics = self.collect(self.iteration)
            self.iteration, self.step = self.iteration + 1, 0
        epoch, minibatch = divmod(self.step, self._steps_per_epoch(self.batch))
        order = np.random.default_rng((self.seed, self.iteration, epoch)).permutation(len(self.batch.ids))
        chosen = order[minibatch * self.minibatch_size : (minibatch + 1) * self.minibatch_size]
        self.step += 1
        group = self.batch.rows(chosen.tolist())
        rows = group.by_prompt
        return [
            group.rows(rows[first : first + self.micro_batch_size])
            for first in range(0, len(rows), self.micro_batch_size)
        ]

    def metrics(self) -> dict[str, float]:
        """Return the number of the current rollout, from 1, and its metrics."""
        return {"rollout": self.iteration, **self.rollout_metrics}

    def _steps_per_epoch(self, batch: BatchT) -> int:
        return -(-len(batch.ids) // self.minibatch_size)

    def state_dict(self) -> dict[str, Any]:
        """Return the position, and the current rollout."""
        batch = self.batch
        return {
            "iteration": self.iteration,
            "step": self.step,
            "metrics": dict(self.rollout_metrics),
            "batch": {each.name: getattr(batch, each.name) for each in fields(batch)} if batch else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the state of a source with the same settings."""
        self.iteration, self.step, self.rollout_metrics = state["iteration"], state["step"], state["metrics"]
        self.batch = self.batch_type(**state["batch"]) if state["batch"] else None
