"""Rollouts: a policy answers prompts, and learns from its own answers for a few steps before it answers again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import numpy as np

from folio.batch import Completions
from folio.data.order import visit
from folio.inference.engine import Engine
from folio.inference.generation import GenerationConfig
from folio.inference.sampling import SamplingConfig
from folio.model.gpt import GPT
from folio.rl.rewards import Sample
from folio.tokenizer.protocol import Tokenizer


@dataclass(frozen=True)
class Prompt:
    """What a policy is asked: the user's last turn as text, and the whole conversation up to the answer as ids."""

    text: str
    ids: Sequence[int]


def write_samples(
    model: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> list[Sample]:
    """An answer to each prompt, drawn from the policy's own distribution: nothing is cut off it, or its KL would lie.

    The log-probabilities are those with which the engine drew: if the trainer's numbers differ, the first ratios are
    not 1, and correct for it.
    """
    end = tokenizer.special_ids["<|end|>"]
    completions = Engine(model).generate(
        [prompt.ids for prompt in prompts],
        GenerationConfig(
            max_new_tokens=max_new_tokens,
            sampling=SamplingConfig(temperature=temperature),
            seed=seed,
            stop_ids=(end,),
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
        )
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


class PromptOrder:
    """Which prompts each rollout takes: all of them once before any of them twice, in an order that follows from the
    seed and the rollout's number alone."""

    def __init__(self, prompts: Sequence[Prompt], seed: int) -> None:
        self.prompts = prompts
        self.seed = seed

    def take(self, iteration: int, size: int) -> list[Prompt]:
        """Return the prompts of a rollout."""
        positions = np.arange(iteration * size, (iteration + 1) * size)
        return [self.prompts[i] for i in visit(positions, len(self.prompts), self.seed)]


Experience = TypeVar("Experience", bound=Completions)


class Rollouts(Generic[Experience]):
    """An endless stream of step-groups. A rollout is made when the one before is used up, and is visited `epochs`
    times, each time in a new order and in minibatches of `minibatch_size`, one optimizer step each.

    make: of the number of a rollout (from 0), what is to be learned from it, and its figures.

    A rollout in hand was written by weights that are no more, so it is part of the state.
    """

    def __init__(
        self,
        make: Callable[[int], tuple[Experience, Mapping[str, float]]],
        kind: type[Experience],
        *,
        epochs: int,
        minibatch_size: int,
        micro_batch_size: int,
        seed: int,
    ) -> None:
        self.make = make
        self.kind = kind
        self.epochs = epochs
        self.minibatch_size = minibatch_size
        self.micro_batch_size = micro_batch_size
        self.seed = seed
        self.iteration = 0
        """Rollouts made."""
        self.taken = 0
        """Step-groups of the last one that were taken."""
        self.experience: Experience | None = None
        self._metrics: Mapping[str, float] = {}
        """Of the rollout in hand."""

    def __iter__(self) -> Iterator[list[Experience]]:
        return self

    def __next__(self) -> list[Experience]:
        if self.experience is None or self.taken == self.epochs * self._n_minibatches(self.experience):
            self.experience, self._metrics = self.make(self.iteration)
            self.iteration, self.taken = self.iteration + 1, 0
        n_rows = len(self.experience.ids)
        which_pass, minibatch = divmod(self.taken, self._n_minibatches(self.experience))
        order = np.random.default_rng((self.seed, self.iteration, which_pass)).permutation(n_rows)
        chosen = order[minibatch * self.minibatch_size : (minibatch + 1) * self.minibatch_size]
        self.taken += 1
        group = self.experience.rows(chosen.tolist())
        rows = group.by_prompt  # how a group is cut changes no gradient
        return [
            group.rows(rows[first : first + self.micro_batch_size])
            for first in range(0, len(rows), self.micro_batch_size)
        ]

    def metrics(self) -> dict[str, float]:
        """The number of the rollout in hand, from 1, and its figures."""
        return {"rollout": self.iteration, **self._metrics}

    def _n_minibatches(self, experience: Experience) -> int:
        return -(-len(experience.ids) // self.minibatch_size)

    def state_dict(self) -> dict[str, Any]:
        held = self.experience
        return {
            "iteration": self.iteration,
            "taken": self.taken,
            "metrics": dict(self._metrics),
            "experience": {each.name: getattr(held, each.name) for each in fields(held)} if held else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a source with the same settings was when it gave `state`."""
        self.iteration, self.taken, self._metrics = state["iteration"], state["taken"], state["metrics"]
        self.experience = self.kind(**state["experience"]) if state["experience"] else None
