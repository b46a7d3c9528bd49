"""Reward sources: reward models, Python functions, and weighted sums of them."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from folio.batch import Completions
from folio.errors import UserError
from folio.model.score import ScoreModel
from folio.objectives.reward import completion_scores

RewardFunction = Callable[[str, str], float]
SHOWN_CHARACTERS = 60
"""Characters of a prompt shown in a message."""
LARGEST_REWARD = torch.finfo(torch.float32).max
"""Largest reward: they become float32."""


@dataclass(frozen=True)
class Sample:
    """A prompt and its sampled completion, as text and as ids.

    completion: without special tokens. logprobs: in nats, of the completion's ids under the policy that sampled them.
    is_stopped: whether it ended by itself, with `<|end|>`.
    """

    prompt: str
    completion: str
    prompt_ids: Sequence[int]
    completion_ids: Sequence[int]
    logprobs: Sequence[float]
    is_stopped: bool


class RewardSource(Protocol):
    """Anything that gives each sample a reward."""

    def __call__(self, samples: Sequence[Sample]) -> list[float]: ...


class RewardError(UserError):
    """A reward function failed, or returned no finite number.

    A function may raise it too: its message then follows the function's name, as in "took more than 10 seconds".
    """


@dataclass(frozen=True)
class ModelReward:
    """A reward model, read at the last of the very tokens that were sampled."""

    model: ScoreModel
    pad_id: int
    batch_size: int = 8

    @torch.inference_mode()
    def __call__(self, samples: Sequence[Sample]) -> list[float]:
        device = self.model.score.weight.device
        completions = Completions.from_pairs(
            [(sample.prompt_ids, sample.completion_ids) for sample in samples], self.pad_id
        )
        order = completions.by_length
        rewards = [0.0] * len(samples)
        for first in range(0, len(order), self.batch_size):
            rows = order[first : first + self.batch_size]
            scores = completion_scores(self.model, completions.rows(rows).to(device))
            for row, score in zip(rows, scores.tolist(), strict=True):
                rewards[row] = score
        return rewards


@dataclass(frozen=True)
class FunctionReward:
    """A Python function of prompt and completion."""

    name: str
    function: RewardFunction

    def __call__(self, samples: Sequence[Sample]) -> list[float]:
        """Score each sample. Raises RewardError, naming the prompt, where it fails or returns no finite number."""
        return [self._score(sample) for sample in samples]

    def _score(self, sample: Sample) -> float:
        where = f"for the prompt {sample.prompt[:SHOWN_CHARACTERS]!r}"
        try:
            given: object = self.function(sample.prompt, sample.completion)
        except RewardError as error:
            raise RewardError(f"{self.name} {error} {where}.") from error
        except (Exception, SystemExit) as error:
            raise RewardError(f"{self.name} raised {in_a_line(error)} {where}.") from error
        if not isinstance(given, numbers.Real):
            hint = " Return its .item()." if isinstance(given, torch.Tensor) else ""
            raise RewardError(f"{self.name} returned {type(given).__name__}, not a number, {where}.{hint}")
        if not -LARGEST_REWARD <= given <= LARGEST_REWARD:  # type: ignore[operator]  # NaN is neither
            raise RewardError(f"{self.name} returned {given} {where}: a reward must be finite.")
        return float(given)


@dataclass(frozen=True)
class WeightedSum:
    """A weighted sum of reward sources. parts: each source with its weight."""

    parts: Sequence[tuple[RewardSource, float]]

    def __call__(self, samples: Sequence[Sample]) -> list[float]:
        totals = [0.0] * len(samples)
        for source, weight in self.parts:
            totals = [total + weight * reward for total, reward in zip(totals, source(samples), strict=True)]
        return totals


def in_a_line(error: BaseException) -> str:
    """Return an error's name and message on one line."""
    return f"{type(error).__name__} ({' '.join(str(error).split())})"
