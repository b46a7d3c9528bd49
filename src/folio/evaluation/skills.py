"""How many requests of instructions an assistant meets, by their checkers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.inference.sampling import SamplingConfig
from folio.model.gpt import GPT
from folio.tokenizer.protocol import Tokenizer


@dataclass(frozen=True)
class Request:
    """A request as ids, up to the token that opens the answer. is_met: the checker of its answer."""

    skill: str
    prompt: Sequence[int]
    is_met: Callable[[str], bool]


@dataclass(frozen=True)
class SkillsMet:
    """Evaluation of answers to held-out requests, always sampled with the same seed."""

    requests: Sequence[Request]
    tokenizer: Tokenizer
    temperature: float
    max_new_tokens: int
    seed: int = 1

    def __call__(self, model: GPT) -> dict[str, float]:
        """Return val_met, the share of requests that are met, and that of each skill."""
        answered = zip(self.requests, self.answers(model), strict=True)
        return met_by_skill([(request.skill, request.is_met(answer)) for request, answer in answered])

    def answers(self, model: GPT) -> list[str]:
        """Return the model's answer to each request, without special tokens."""
        special = self.tokenizer.special_ids
        generation = GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            sampling=SamplingConfig(temperature=self.temperature),
            seed=self.seed,
            stop_ids=(special["<|end|>"],),
            vocab_size=self.tokenizer.vocab_size,
        )
        completions = Engine(model).generate([request.prompt for request in self.requests], generation)
        unseen = set(special.values())
        return [self.tokenizer.decode([i for i in each.ids if i not in unseen]) for each in completions]


def met_by_skill(answered: Iterable[tuple[str, bool]]) -> dict[str, float]:
    """Return val_met, the share of requests that are met, and that of each skill; nothing where there are none.

    answered: the skill of each request, and whether its answer meets it.
    """
    groups = defaultdict(list)
    for skill, is_met in answered:
        groups[skill].append(is_met)
    everything = [each for group in groups.values() for each in group]
    if not everything:
        return {}
    return {
        "val_met": sum(everything) / len(everything),
        **{f"val_met/{skill}": sum(group) / len(group) for skill, group in groups.items()},
    }
