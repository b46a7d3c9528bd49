"""From what a policy wrote to what it can learn from: log-probabilities, rewards, advantages, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from folio.batch import Completions
from folio.model.gpt import GPT
from folio.model.score import ScoreModel
from folio.model.shared_prefix import Branches
from folio.objectives.grpo import GRPOBatch, kl_k3
from folio.objectives.logprobs import token_logprobs
from folio.objectives.ppo import PPOBatch
from folio.rl.advantages import gae, group_advantages, token_rewards, whiten
from folio.rl.rewards import Sample, WeightedSum
from folio.rl.rollouts import PromptOrder, write_samples
from folio.tokenizer.protocol import Tokenizer


@dataclass(frozen=True, kw_only=True)
class RolloutSampler:
    """How a policy's answers come about, and what they are worth.

    reference: the policy as it was at the start. missing_stop_penalty: taken off the reward of an answer that did
    not end by itself. batch_size: rows that go through a model together.
    """

    policy: GPT
    reference: GPT
    tokenizer: Tokenizer
    reward: WeightedSum
    max_new_tokens: int
    temperature: float
    missing_stop_penalty: float
    batch_size: int

    def sample(self, order: PromptOrder, iteration: int, n_prompts: int, each: int = 1) -> Rollout:
        """A rollout: `each` answers to each of the next prompts, side by side, with all that is known of them."""
        prompts = [prompt for prompt in order.take(iteration, n_prompts) for _ in range(each)]
        samples = write_samples(
            self.policy,
            self.tokenizer,
            prompts,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            seed=order.seed * 1_000_003 + iteration,
        )
        return self.score(samples)

    @torch.no_grad()  # not inference_mode: what comes of it is learned from
    def score(self, samples: Sequence[Sample]) -> Rollout:
        """Samples with their rewards, and how likely policy and reference find each token."""
        pad_id = self.tokenizer.special_ids["<|pad|>"]
        completions = Completions.of(
            [(sample.prompt_ids, sample.completion_ids) for sample in samples], pad_id
        )
        rewards = torch.tensor(self.reward(samples))
        penalty = torch.tensor(
            [0.0 if sample.is_stopped else self.missing_stop_penalty for sample in samples]
        )
        logprobs = torch.zeros(completions.mask[:, 1:].shape)
        drawn = [logprob for sample in samples for logprob in sample.logprobs]
        logprobs[completions.mask[:, 1:].bool()] = torch.tensor(drawn)
        ref_logprobs = self.per_token(completions, self._under_the_reference)
        return Rollout(samples, completions, rewards, rewards - penalty, logprobs, ref_logprobs)

    def per_token(self, completions: Completions, compute: Callable[[Completions], Tensor]) -> Tensor:
        """What `compute` makes of the sampled tokens of some rows, (m) in the order of the mask, for all rows:
        (B, T - 1) on the CPU, 0 where no token was sampled."""
        device = self.reference.embedding.weight.device
        found = torch.zeros(completions.mask[:, 1:].shape)
        order = completions.by_prompt
        for first in range(0, len(order), self.batch_size):
            rows = order[first : first + self.batch_size]
            some = completions.rows(rows)
            mask = some.mask[:, 1:]
            computed = compute(some.to(device)).cpu()
            found[rows, : mask.shape[1]] = torch.zeros_like(mask).masked_scatter(mask.bool(), computed)
        return found

    def _under_the_reference(self, completions: Completions) -> Tensor:
        """How likely the reference finds each sampled token, in nats."""
        branches = Branches.of(completions)
        logits = self.reference.head(branches.read(self.reference))
        return token_logprobs(logits, branches.targets, self.temperature)


@dataclass(frozen=True)
class Rollout:
    """samples; the same as tensors; rewards (B), and scores (B), which are rewards less penalties; and for each token
    but the first how likely the policy and its reference found it, (B, T - 1) in nats."""

    samples: Sequence[Sample]
    completions: Completions
    rewards: Tensor
    scores: Tensor
    logprobs: Tensor
    ref_logprobs: Tensor

    @property
    def mask(self) -> Tensor:
        """(B, T - 1), 1 where a token was sampled."""
        return self.completions.mask[:, 1:]

    def metrics(self) -> dict[str, float]:
        """reward: mean; reward_std; kl: to the reference, summed over a completion (k1, which sampling can make
        negative but not for long); kl_k3: the same, never negative; length: tokens; stop_share."""
        log_ratio = (self.logprobs - self.ref_logprobs) * self.mask
        k3 = kl_k3(self.logprobs, self.ref_logprobs) * self.mask
        return {
            "reward": self.rewards.mean().item(),
            "reward_std": self.rewards.std(correction=0).item(),
            "kl": log_ratio.sum(1).mean().item(),
            "kl_k3": k3.sum(1).mean().item(),
            "length": self.mask.sum(1).mean().item(),
            "stop_share": sum(sample.is_stopped for sample in self.samples) / len(self.samples),
        }


@dataclass(frozen=True, kw_only=True)
class PPOExperience:
    """What PPO learns from: every token's advantage, by a critic's account."""

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
        """A rollout and its figures."""
        written = self.sampler.sample(self.order, iteration, self.n_prompts, self.group_size)
        mask = written.mask
        values = self._values(written.completions)
        rewards = token_rewards(written.scores, written.logprobs, written.ref_logprobs, mask, self.kl_coef)
        if self.whiten_rewards:
            rewards = whiten(rewards, mask, mean=None)
        advantages, returns = gae(rewards, values, mask, gamma=self.gamma, gae_lambda=self.gae_lambda)
        batch = PPOBatch(
            ids=written.completions.ids,
            mask=written.completions.mask,
            old_logprobs=written.logprobs,
            old_values=values,
            advantages=whiten(advantages, mask),
            returns=returns,
        )
        return batch, {**written.metrics(), "explained_variance": explained_variance(values, returns, mask)}

    @torch.no_grad()
    def _values(self, completions: Completions) -> Tensor:
        """What the critic expects before each sampled token: (B, T - 1)."""
        return self.sampler.per_token(
            completions, lambda some: self.critic.scores(Branches.of(some).read(self.critic))
        )


@dataclass(frozen=True, kw_only=True)
class GRPOExperience:
    """What GRPO learns from: by how much each answer is better than the others to the same prompt."""

    sampler: RolloutSampler
    order: PromptOrder
    n_prompts: int
    group_size: int
    scale: bool

    def __call__(self, iteration: int) -> tuple[GRPOBatch, Mapping[str, float]]:
        """A rollout and its figures; equal_groups: share of prompts whose answers all got the same, which teach nothing."""
        written = self.sampler.sample(self.order, iteration, self.n_prompts, self.group_size)
        advantages = group_advantages(written.scores, self.group_size, scale=self.scale)
        groups = written.scores.view(-1, self.group_size)
        equal = (groups.amax(1) == groups.amin(1)).float().mean().item()
        batch = GRPOBatch(
            ids=written.completions.ids,
            mask=written.completions.mask,
            old_logprobs=written.logprobs,
            ref_logprobs=written.ref_logprobs,
            advantages=advantages[:, None] * written.mask,
        )
        return batch, {**written.metrics(), "equal_groups": equal}


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """How much of what happened the critic foresaw: 1 all of it, 0 no more than a constant would. (B, T) each."""
    kept = mask.bool()
    errors, happened = (returns - values)[kept], returns[kept]
    return float(1 - errors.var(correction=0) / happened.var(correction=0).clamp(min=1e-12))
