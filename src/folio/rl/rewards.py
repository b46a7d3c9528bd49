"""Reward sources: reward models, a language model's likelihood, Python functions, and weighted sums of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import truediv
from typing import Any, Protocol

import torch

from folio.batch import Completions
from folio.errors import UserError
from folio.model.gpt import GPT
from folio.model.score import ScoreModel
from folio.objectives.logprobs import completion_logprobs
from folio.objectives.reward import completion_scores
from folio.rl.functions import Asks, CallError, Row
from folio.tokenizer.protocol import Tokenizer

SHOWN_CHARACTERS = 60
"""Characters of a prompt or a completion shown in a message."""


@dataclass(frozen=True)
class Sample:
    """A prompt and its sampled completion, as text and as ids.

    completion: without special tokens. logprobs: in nats, of the completion's ids under the policy that sampled them.
    is_stopped: whether it ended by itself, with `<|end|>`. columns: the row that the prompt came from, by column.
    """

    prompt: str
    completion: str
    prompt_ids: Sequence[int]
    completion_ids: Sequence[int]
    logprobs: Sequence[float]
    is_stopped: bool
    columns: Mapping[str, Any] = field(default_factory=dict)


class RewardSource(Protocol):
    """Anything that gives each sample a reward."""

    def __call__(self, samples: Sequence[Sample]) -> list[float]: ...


class RewardError(UserError):
    """A reward function failed, took too long, or returned no finite number."""


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
class LikelihoodReward:
    """How well a completion reads: its mean log-probability, in nats a character, as a text of its own.

    model: a base model of the texts that completions should read like, with its tokenizer. Of a completion longer than its
    context the beginning is read. One without a character gets as much as a random token.
    """

    model: GPT
    tokenizer: Tokenizer
    batch_size: int = 16

    @torch.inference_mode()
    def __call__(self, samples: Sequence[Sample]) -> list[float]:
        texts = dict.fromkeys(sample.completion for sample in samples)
        # A line begins: a tokenizer of characters has a <|bos|> that the model may never have seen.
        before = self.tokenizer.prompt(self.tokenizer.drop_unknown("\n")[0])
        room = self.model.config.block_size - len(before)
        pairs = [(before, self.tokenizer.encode(text)[:room].tolist()) for text in texts if text]
        n_characters = [len(self.tokenizer.decode(ids)) for _, ids in pairs]
        logprobs = self._logprobs(Completions.from_pairs(pairs, pad_id=0)) if pairs else []
        means = dict(zip(filter(None, texts), map(truediv, logprobs, n_characters), strict=True))
        at_random = -math.log(self.tokenizer.vocab_size)
        return [means.get(sample.completion, at_random) for sample in samples]

    def _logprobs(self, completions: Completions) -> list[float]:
        logprobs = [0.0] * len(completions.ids)
        order = completions.by_length
        for first in range(0, len(order), self.batch_size):
            rows = order[first : first + self.batch_size]
            batch = completions.rows(rows).to(self.model.embedding.weight.device)
            for row, logprob in zip(rows, completion_logprobs(self.model, batch).tolist(), strict=True):
                logprobs[row] = logprob
        return logprobs


class ScoringFunction(Protocol):
    """A reward function, wherever it runs: `LocalFunction`, or `runs/worker.py: Worker`.

    asks: the columns that it asks for. A call yields the reward of each row, and raises CallError where there is none.
    """

    @property
    def asks(self) -> Asks: ...
    def __call__(self, rows: Iterable[Row]) -> Iterator[float]: ...


@dataclass(frozen=True)
class FunctionReward:
    """A function of prompt, completion, and columns of the prompt's row. name: as it is called in messages."""

    name: str
    function: ScoringFunction

    def __call__(self, samples: Sequence[Sample]) -> list[float]:
        """Score each sample. Raises RewardError, naming prompt and completion, where there is no reward."""
        choose = self.function.asks.choose
        rows = [Row(each.prompt, each.completion, choose(each.columns)) for each in samples]
        rewards: list[float] = []
        try:
            for reward in self.function(rows):
                rewards.append(reward)
        except CallError as error:
            failed = samples[len(rewards)]
            raise RewardError(
                f"{self.name} {error}, for the prompt {_shortened(failed.prompt)} "
                f"and the completion {_shortened(failed.completion)}."
            ) from error
        return rewards

    def check_columns(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Raise UserError if the function asks for a column that is not in each of these rows."""
        for column in self.function.asks.required:
            n_without = sum(column not in row for row in rows)
            if n_without:
                there = ", ".join(dict.fromkeys(name for row in rows for name in row)) or "none"
                raise UserError(
                    f"{self.name} asks for {column!r}, a column that {n_without:,} of {len(rows):,} prompts do not have. "
                    f"Columns: {there}."
                )


@dataclass(frozen=True)
class WeightedSum:
    """A weighted sum of reward sources. parts: each source with its weight."""

    parts: Sequence[tuple[RewardSource, float]]

    def __call__(self, samples: Sequence[Sample]) -> list[float]:
        totals = [0.0] * len(samples)
        for source, weight in self.parts:
            totals = [total + weight * reward for total, reward in zip(totals, source(samples), strict=True)]
        return totals

    def check_columns(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Raise UserError if a function asks for a column that is not in each of these rows of prompts."""
        for source, _ in self.parts:
            if isinstance(source, FunctionReward):
                source.check_columns(rows)


def _shortened(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}...")
