"""Evaluation of a policy on held-out prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from folio.data.skills import checker_of
from folio.evaluation.diversity import distinct_n
from folio.evaluation.prompt_pmi import Exchange, PromptPMI
from folio.evaluation.skills import met_by_skill
from folio.model.gpt import GPT
from folio.rl.rewards import Sample, WeightedSum
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
        """Return the metrics of the model's `Rollout`, those of the gold reward, distinct_2, and whether the answers depend on
        their prompts and meet them (see `PromptPMI` and `met_by_skill`), each after val_."""
        rollout = replace(self.sampler, policy=model).sample(self.prompts, self.seed)
        metrics = rollout.metrics()
        if self.gold is not None:
            gold = torch.tensor(self.gold(rollout.samples))
            metrics |= {"gold": gold.mean().item(), "gold_std": gold.std(correction=0).item()}
        metrics["distinct_2"] = distinct_n([sample.completion for sample in rollout.samples])
        return {f"val_{name}": value for name, value in metrics.items()} | self._listening(
            model, rollout.samples
        )

    def _listening(self, model: GPT, samples: Sequence[Sample]) -> dict[str, float]:
        """Return what the model's own answers owe to their prompts, and how many meet a request that has a checker."""
        exchanges = [
            Exchange(str(each.columns.get("skill", "")), each.prompt_ids, each.completion_ids)
            for each in samples
        ]
        pad_id = self.sampler.tokenizer.special_ids["<|pad|>"]
        pmi = PromptPMI.of(exchanges, pad_id, model.config.block_size)
        checked = [(each, is_met) for each in samples if (is_met := checker_of(each.columns))]
        met = met_by_skill([(each.columns["skill"], is_met(each.completion)) for each, is_met in checked])
        return (pmi(model) if pmi else {}) | met
