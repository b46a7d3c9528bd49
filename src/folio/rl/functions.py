"""Reward functions: find one in a file, give it what it asks for, and tell in one line what goes wrong.

A worker process (`runs/reward_worker.py`) imports this module, so it needs nothing that is slow to import.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import numbers
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from folio.errors import LONGEST_REASON, UserError

RewardFunction = Callable[..., float]
"""A function of prompt and completion, and of columns of the prompt's row if it names more."""
LARGEST_REWARD = 3.4028234663852886e38
"""Largest reward: they become float32."""


class CallError(Exception):
    """A call that gave no reward. The message follows the function's name, as in "returned nan"."""


class Row(NamedTuple):
    """What a function is called with. columns: those of the prompt's row that it asks for."""

    prompt: str
    completion: str
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class Asks:
    """The columns that a function asks for: its parameters after the first two, which get prompt and completion.

    required: columns that must be there. optional: columns that are given if they are there. others: whether all other
    columns are given (`**columns`). taken: names of its first two parameters, which no column can fill.
    """

    required: Collection[str] = ()
    optional: Collection[str] = ()
    others: bool = False
    taken: Collection[str] = ()

    @classmethod
    def of(cls, function: Callable[..., object]) -> Asks:
        """Return what a function asks for: nothing more, if Python does not know its parameters."""
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (ValueError, TypeError):  # of some that are written in C
            return cls()
        positional = [each for each in parameters if each.kind <= inspect.Parameter.VAR_POSITIONAL]
        named = [
            each
            for each in parameters
            if each not in positional[:2]
            and each.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        ]
        return cls(
            required=tuple(each.name for each in named if each.default is inspect.Parameter.empty),
            optional=tuple(each.name for each in named if each.default is not inspect.Parameter.empty),
            others=any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters),
            taken=tuple(each.name for each in positional[:2]),
        )

    def choose(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of a row's columns that are asked for."""
        named = {*self.required, *self.optional}
        return {
            name: value
            for name, value in columns.items()
            if name in named or (self.others and name not in self.taken)
        }


class LocalFunction:
    """A function that runs in this process, without a time limit."""

    def __init__(self, function: RewardFunction) -> None:
        self.function = function
        self.asks = Asks.of(function)

    def __call__(self, rows: Iterable[Row]) -> Iterator[float]:
        """Yield the reward of each row. Raises CallError where there is none."""
        return map(self._call, rows)

    def _call(self, row: Row) -> float:
        try:
            return _number(self.function(row.prompt, row.completion, **row.columns))
        except (CallError, KeyboardInterrupt):
            raise
        except BaseException as error:  # whatever it is: the function is not ours
            raise CallError(f"raised {in_a_line(error)}") from error


def _number(given: object) -> float:
    if not isinstance(given, numbers.Real):
        hint = " (return its .item())" if hasattr(given, "item") else ""
        raise CallError(f"returned {type(given).__name__}, not a number{hint}")
    try:
        number = float(given)
    except OverflowError:  # an integer
        number = math.inf
    if not abs(number) <= LARGEST_REWARD:  # NaN is neither
        raise CallError(f"returned {number}, not a finite number")
    return number


def in_a_line(error: BaseException) -> str:
    """Return an error's name and message on one line."""
    try:
        words = " ".join(str(error).split())
    except BaseException:  # the message may be a person's code as well
        words = "its message cannot be read"
    shown = words if len(words) <= LONGEST_REASON else f"{words[:LONGEST_REASON]} ..."
    return f"{type(error).__name__} ({shown})"


def load_function(spec: str) -> RewardFunction:
    """Return a function of a file, given as `file.py:name`, in this process.

    Raises UserError where there is no such function, and whatever the file raises.
    """
    file, colon, name = spec.rpartition(":")
    if not colon:
        raise UserError(f"{spec}: name a function in it, as {spec}:NAME.")
    if not Path(file).is_file():
        raise UserError(f"{spec}: there is no Python file {file}.")
    module = _import_file(Path(file))
    function: object = getattr(module, name, None)
    if not callable(function):
        known = ", ".join(key for key, value in vars(module).items() if callable(value) and key[0] != "_")
        raise UserError(f"{file} has no function {name!r}. It has {known or 'none'}.")
    return function


def _import_file(file: Path) -> ModuleType:
    # A name that no other module has: a file may be called like one of Python's.
    spec = importlib.util.spec_from_file_location(f"reward:{file}", file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module
