"""Reward sources: reward models, Python functions, and weighted sums of them."""

from __future__ import annotations

import importlib.util
import numbers
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from folio.batch import Completions
from folio.errors import UserError
from folio.model.score import ScoreModel
from folio.objectives.reward import completion_scores

RewardFunction = Callable[[str, str], float]
SHOWN = 60
"""Characters of a prompt shown in a message."""
LARGEST = torch.finfo(torch.float32).max
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
    """A reward function failed, or returned no finite number."""


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
    """A Python function of prompt and completion. timeout: seconds that one call may take; None for no limit."""

    name: str
    function: RewardFunction
    timeout: float | None = None

    def __call__(self, samples: Sequence[Sample]) -> list[float]:
        """Score each sample. Raises RewardError, naming the prompt, where it fails, returns no finite number, or takes too long."""
        return [self._score(sample) for sample in samples]

    def _score(self, sample: Sample) -> float:
        where = f"for the prompt {sample.prompt[:SHOWN]!r}"
        try:
            with nullcontext() if self.timeout is None else time_limit(self.timeout):
                given: object = self.function(sample.prompt, sample.completion)
        except _TimeUpError:
            raise RewardError(f"{self.name} took more than {self.timeout:g} seconds {where}.") from None
        except (Exception, SystemExit) as error:
            raise RewardError(f"{self.name} raised {in_a_line(error)} {where}.") from error
        if not isinstance(given, numbers.Real):
            hint = " Return its .item()." if isinstance(given, torch.Tensor) else ""
            raise RewardError(f"{self.name} returned {type(given).__name__}, not a number, {where}.{hint}")
        if not -LARGEST <= given <= LARGEST:  # type: ignore[operator]  # NaN is neither
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


def load_function(spec: str) -> RewardFunction:
    """Load a function, given as `file.py:name`. Raises UserError where there is none."""
    file, colon, name = spec.rpartition(":")
    if not colon:
        raise UserError(f"{spec}: name a function in it, as {spec}:NAME.")
    module_spec = importlib.util.spec_from_file_location(f"reward:{file}", file)
    if not Path(file).is_file() or module_spec is None or module_spec.loader is None:
        raise UserError(f"{spec}: there is no Python file {file}.")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module  # where dataclasses look for it; no other module has such a name
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UserError(f"{file} cannot be imported: {in_a_line(error)}.") from error
    function = getattr(module, name, None)
    if not callable(function):
        known = ", ".join(key for key, value in vars(module).items() if callable(value) and key[0] != "_")
        raise UserError(f"{file} has no function {name!r}. It has {known or 'none'}.")
    return function


def in_a_line(error: BaseException) -> str:
    """Return an error's name and message on one line."""
    return f"{type(error).__name__} ({' '.join(str(error).split())})"


class _TimeUpError(BaseException):
    """No `Exception`, so that a function which catches those cannot swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise _TimeUpError in the block after `seconds`, and again after the block if it has swallowed the error.

    Only the main thread can be interrupted, and only where there is SIGALRM; elsewhere (on Windows) the block runs
    without a limit.
    """
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    is_up = threading.Event()

    def stop(number: int, frame: object) -> None:
        is_up.set()
        raise _TimeUpError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    if is_up.is_set():
        raise _TimeUpError
