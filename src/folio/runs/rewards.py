"""Load rewards: reward models, functions with a time limit, and weighted sums of them."""

from __future__ import annotations

import importlib.util
import math
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from folio.errors import UserError
from folio.model.directory import load_score_model
from folio.model.score import ScoreModel
from folio.rl.rewards import (
    FunctionReward,
    ModelReward,
    RewardError,
    RewardFunction,
    RewardSource,
    WeightedSum,
    in_a_line,
)
from folio.runs.load import read_model
from folio.runs.recipes import find_recipe_file
from folio.tokenizer.directory import load_tokenizer
from folio.tokenizer.protocol import Tokenizer


def load_rewards(specs: Sequence[str], tokenizer: Tokenizer, seconds: float) -> WeightedSum:
    """Load reward models and functions as a weighted sum.

    Raises UserError if one is missing or a model has another tokenizer than the policy.
    """
    parts = []
    for spec in specs:
        name, weight = split_weight(spec)
        source: RewardSource = (
            FunctionReward(name, limited(load_function(find_recipe_file(name)), seconds))
            if is_function(name)
            else load_model_reward(name, tokenizer)
        )
        parts.append((source, weight))
    return WeightedSum(parts)


def models_in(rewards: WeightedSum) -> list[ScoreModel]:
    """Return the reward models among the sources."""
    return [source.model for source, _ in rewards.parts if isinstance(source, ModelReward)]


def split_weight(spec: str) -> tuple[str, float]:
    """Split `SOURCE=WEIGHT`; the weight is 1 by default. Raises UserError for a weight that is not a number."""
    name, equals, weight = spec.rpartition("=")
    if not equals:
        return spec, 1.0
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{spec}: the weight {weight!r} is not a number.")
    return name, number


def is_function(name: str) -> bool:
    """Return whether a source is `file.py:name`, not a model."""
    return re.search(r"\.py(:|$)", name) is not None


def load_model_reward(name: str, tokenizer: Tokenizer) -> RewardSource:
    """Load a reward model. Raises UserError if its tokenizer is not the policy's."""
    model, own = read_model(
        Path(name), lambda directory: (load_score_model(directory, dropout=0.0), load_tokenizer(directory))
    )
    if own != tokenizer:
        raise UserError(
            f"{name} has another tokenizer than the policy; train the reward model from the same model."
        )
    return ModelReward(model.eval().requires_grad_(False), tokenizer.special_ids["<|pad|>"])


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


def limited(function: RewardFunction, seconds: float) -> RewardFunction:
    """Return the function with a time limit for each call, over which it raises RewardError; see `time_limit`."""

    def call(prompt: str, completion: str) -> float:
        try:
            with time_limit(seconds):
                return function(prompt, completion)
        except _TimeUpError:
            raise RewardError(f"took more than {seconds:g} seconds") from None

    return call


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
