"""Evaluation of a policy on held-out prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from folio.evaluation.diversity import distinct_n
from folio.rl.experience import RolloutSampler
from folio.rl.rewards import WeightedSum
from folio.rl.rollouts import Prompt, write_samples


@dataclass(frozen=True)
class PolicyEvaluation:
    """Answers to held-out prompts, always with the same seed: only the policy differs."""

    sampler: RolloutSampler
    prompts: Sequence[Prompt]
    gold: WeightedSum | None
    seed: int

    def __call__(self, model: Any) -> dict[str, float]:
        """The figures of `Rollout`, of the gold reward and of diversity, each after val_."""
        samples = write_samples(
            model,
            self.sampler.tokenizer,
            self.prompts,
            max_new_tokens=self.sampler.max_new_tokens,
            temperature=self.sampler.temperature,
            seed=self.seed,
        )
        figures = self.sampler.score(samples).metrics()
        if self.gold is not None:
            gold = torch.tensor(self.gold(samples))
            figures |= {"gold": gold.mean().item(), "gold_std": gold.std(correction=0).item()}
        figures["distinct_2"] = distinct_n([sample.completion for sample in samples])
        return {f"val_{name}": value for name, value in figures.items()}
