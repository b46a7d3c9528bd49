"""Evaluation of a policy on held-out prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from folio.evaluation.diversity import distinct_n
from folio.model.gpt import GPT
from folio.rl.rewards import WeightedSum
from folio.rl.rollouts import Prompt, RolloutSampler


@dataclass(frozen=True)
class PolicyEvaluation:
    """Samples completions of held-out prompts, always with the same seed, and scores them.

    sampler: its policy is replaced by the model to evaluate. gold: a reward that is measured and not trained on.
    """

    sampler: RolloutSampler
    prompts: Sequence[Prompt]
    gold: WeightedSum | None
    seed: int

    def __call__(self, model: GPT) -> dict[str, float]:
        """Return the metrics of the model's `Rollout`, those of the gold reward, and distinct_2, each after val_."""
        rollout = replace(self.sampler, policy=model).sample(self.prompts, self.seed)
        metrics = rollout.metrics()
        if self.gold is not None:
            gold = torch.tensor(self.gold(rollout.samples))
            metrics |= {"gold": gold.mean().item(), "gold_std": gold.std(correction=0).item()}
        metrics["distinct_2"] = distinct_n([sample.completion for sample in rollout.samples])
        return {f"val_{name}": value for name, value in metrics.items()}
