"""Whether an assistant listens: how much likelier its own prompt makes an answer than another prompt does."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from folio.batch import Completions
from folio.model.gpt import GPT
from folio.model.mode import evaluating
from folio.objectives.logprobs import completion_logprobs

BATCH_SIZE = 16
"""Rows of a forward pass."""


@dataclass(frozen=True)
class Exchange:
    """A prompt and the answer to it, as ids. skill: prompts are exchanged among those of one skill only."""

    skill: str
    prompt: Sequence[int]
    completion: Sequence[int]


@dataclass(frozen=True)
class PromptPMI:
    """Evaluation of the pointwise mutual information of prompts and completions.

    It is ln p(completion | its prompt) - ln p(completion | another prompt of the same skill), in nats. Where the answers do
    not depend on what was asked, it is 0 on average.

    skills: of each pair. right, wrong: the same completions after their own and after another prompt.
    """

    skills: Sequence[str]
    right: Completions
    wrong: Completions

    @classmethod
    def of(cls, exchanges: Sequence[Exchange], pad_id: int, block_size: int) -> PromptPMI | None:
        """Return the evaluation on exchanges, or None where no two of one skill differ in prompt and answer.

        block_size: tokens of the model's context, into which a prompt and an answer must fit.
        """
        groups = defaultdict(list)
        for each in exchanges:
            groups[each.skill].append(each)
        pairs = [
            (each, other)
            for group in groups.values()
            for number, each in enumerate(group)
            if (other := _next_unlike(group, number, block_size)) is not None
        ]
        if not pairs:
            return None
        return cls(
            skills=[each.skill for each, _ in pairs],
            right=Completions.from_pairs([(each.prompt, each.completion) for each, _ in pairs], pad_id),
            wrong=Completions.from_pairs([(other.prompt, each.completion) for each, other in pairs], pad_id),
        )

    @torch.inference_mode()
    def __call__(self, model: GPT) -> dict[str, float]:
        """Return val_prompt_pmi in nats an answer, its standard error, the same in nats a token, and val_prompt_wins, the
        share of answers that their own prompt makes likelier; and pmi and wins of each skill that has a name."""
        with evaluating(model):
            pmi = _logprobs(model, self.right) - _logprobs(model, self.wrong)
        wins = (pmi > 0).float() + 0.5 * (pmi == 0).float()
        found = {
            "prompt_pmi": pmi.mean().item(),
            "prompt_pmi_error": pmi.std(correction=0).item() / math.sqrt(len(pmi)),
            "prompt_pmi_per_token": (pmi.sum() / self.right.mask.sum()).item(),
            "prompt_wins": wins.mean().item(),
        }
        for skill in filter(None, dict.fromkeys(self.skills)):
            rows = [row for row, name in enumerate(self.skills) if name == skill]
            found[f"prompt_pmi/{skill}"] = pmi[rows].mean().item()
            found[f"prompt_wins/{skill}"] = wins[rows].mean().item()
        return {f"val_{name}": value for name, value in found.items()}


def _next_unlike(group: Sequence[Exchange], number: int, block_size: int) -> Exchange | None:
    """Return the exchange after one, in a circle, that has another prompt and another answer, and room for this one's."""
    each = group[number]
    room = block_size - len(each.completion)
    for other in (*group[number + 1 :], *group[:number]):
        if other.prompt != each.prompt and other.completion != each.completion and len(other.prompt) <= room:
            return other
    return None


def _logprobs(model: GPT, completions: Completions) -> Tensor:
    """Return ln p of each completion after its prompt, on the CPU: (B)."""
    device = next(model.parameters()).device
    logprobs = torch.zeros(len(completions.ids))
    order = completions.by_length
    for first in range(0, len(order), BATCH_SIZE):
        rows = order[first : first + BATCH_SIZE]
        logprobs[rows] = completion_logprobs(model, completions.rows(rows).to(device)).float().cpu()
    return logprobs
