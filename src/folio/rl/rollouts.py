"""Rollouts: completions sampled from a policy, with their rewards and log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from folio.batch import Completions
from folio.data.order import visit
from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.inference.sampling import SamplingConfig
from folio.model.gpt import GPT
from folio.model.shared_prefix import SharedPrefixBatch
from folio.objectives.grpo import kl_k3
from folio.objectives.logprobs import head_logprobs
from folio.rl.rewards import Sample, WeightedSum
from folio.tokenizer.protocol import Tokenizer


@dataclass(frozen=True)
class Prompt:
    """A prompt: the user's last message as text, and the whole conversation up to the answer as ids.

    columns: the row that it came from, by column, for reward functions that ask for more than the text.
    """

    text: str
    ids: Sequence[int]
    columns: Mapping[str, Any] = field(default_factory=dict)


class PromptOrder:
    """The prompts of each rollout: all of them once before any comes twice, shuffled anew in each epoch.

    The order depends on the seed and the rollout's number alone.
    """

    def __init__(self, prompts: Sequence[Prompt], seed: int) -> None:
        self.prompts = prompts
        self.seed = seed

    def take(self, iteration: int, size: int) -> list[Prompt]:
        """Return the prompts of a rollout."""
        positions = np.arange(iteration * size, (iteration + 1) * size)
        return [self.prompts[i] for i in visit(positions, len(self.prompts), self.seed)]


def sample_completions(
    model: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> list[Sample]:
    """Sample a completion of each prompt from softmax(logits / temperature).

    Nothing is cut off that distribution (no top-k, no top-p), or the KL would be that of another policy. The
    log-probabilities are those with which the engine sampled: where the trainer's differ, the first ratios are not 1,
    and correct for it.
    """
    end = tokenizer.special_ids["<|end|>"]
    completions = Engine(model).generate(
        [prompt.ids for prompt in prompts],
        GenerationConfig(
            max_new_tokens=max_new_tokens,
            sampling=SamplingConfig(temperature=temperature),
            seed=seed,
            stop_ids=(end,),
            vocab_size=tokenizer.vocab_size,
        ),
    )
    special = set(tokenizer.special_ids.values())
    return [
        Sample(
            prompt=prompt.text,
            completion=tokenizer.decode([i for i in completion.ids if i not in special]),
            prompt_ids=prompt.ids,
            completion_ids=completion.ids,
            logprobs=completion.logprobs,
            is_stopped=completion.finish_reason == "stop",
            columns=prompt.columns,
        )
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


@dataclass(frozen=True)
class Rollout:
    """Sampled completions and what is known of them, on the CPU.

    completions: the samples as ids. rewards: (B). scores: (B), rewards less penalties. logprobs, ref_logprobs:
    (B, T - 1) in nats, of each token but the first under the policy and under its reference.
    """

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
        """Return means over completions.

        reward, and its standard deviation reward_std; kl, to the reference, summed over a completion (k1, which may be
        negative by chance); kl_k3, the same by an estimate that is never negative; length in tokens; stop_share, the
        share that ended by themselves.
        """
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
class RolloutSampler:
    """Samples completions from a policy and scores them.

    reference: the policy as it was at the start, which stays fixed. missing_stop_penalty: subtracted from the score of
    a completion that did not end by itself. batch_size: rows per forward pass.
    """

    policy: GPT
    reference: GPT
    tokenizer: Tokenizer
    reward: WeightedSum
    max_new_tokens: int
    temperature: float
    missing_stop_penalty: float
    batch_size: int

    def sample(self, prompts: Sequence[Prompt], seed: int) -> Rollout:
        """Sample a completion of each prompt, and score it."""
        samples = sample_completions(
            self.policy,
            self.tokenizer,
            prompts,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            seed=seed,
        )
        return self.score(samples)

    @torch.no_grad()  # not inference_mode: the tensors are trained on
    def score(self, samples: Sequence[Sample]) -> Rollout:
        """Return samples with their rewards, and their log-probabilities under policy and reference."""
        pad_id = self.tokenizer.special_ids["<|pad|>"]
        completions = Completions.from_pairs(
            [(sample.prompt_ids, sample.completion_ids) for sample in samples], pad_id
        )
        rewards = torch.tensor(self.reward(samples))
        penalty = torch.tensor(
            [0.0 if sample.is_stopped else self.missing_stop_penalty for sample in samples]
        )
        logprobs = torch.zeros(completions.mask[:, 1:].shape)
        sampled = [logprob for sample in samples for logprob in sample.logprobs]
        logprobs[completions.mask[:, 1:].bool()] = torch.tensor(sampled)
        ref_logprobs = self.per_token(completions, self._reference_logprobs)
        return Rollout(samples, completions, rewards, rewards - penalty, logprobs, ref_logprobs)

    def per_token(self, completions: Completions, compute: Callable[[Completions], Tensor]) -> Tensor:
        """Compute a number for each sampled token, batch_size rows at a time.

        compute: some of the rows, on the reference's device -> (m), a number for each of their sampled tokens in the
        order of the mask. Returns (B, T - 1) on the CPU, 0 where no token was sampled.
        """
        device = self.reference.embedding.weight.device
        result = torch.zeros(completions.mask[:, 1:].shape)
        order = completions.by_prompt
        for first in range(0, len(order), self.batch_size):
            rows = order[first : first + self.batch_size]
            part = completions.rows(rows)
            mask = part.mask[:, 1:]
            numbers = compute(part.to(device)).cpu()
            result[rows, : mask.shape[1]] = torch.zeros_like(mask).masked_scatter(mask.bool(), numbers)
        return result

    def _reference_logprobs(self, completions: Completions) -> Tensor:
        """Return (m) log-probabilities in nats, of each sampled token under the reference."""
        shared = SharedPrefixBatch.from_completions(completions)
        hidden_states = shared.hidden_states(self.reference)
        return head_logprobs(self.reference, hidden_states, shared.targets, self.temperature)
