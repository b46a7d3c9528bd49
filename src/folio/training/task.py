"""A training task: what a stage gives to the loop, and the loop to the caller of `folio.train`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from folio.config import Count, Many, NonNegative, Positive, Settings, from_table
from folio.distributed import on_first
from folio.errors import UserError
from folio.training.loop import Accumulated, Counted, LossFunction, StepReport, optimizer_steps
from folio.training.schedule import ScheduleConfig


class Source(Protocol):
    """An iterator over step-groups, the micro-batches of one optimizer step after another, that can be resumed."""

    def __iter__(self) -> Iterator[Sequence[Any]]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass
class Task:
    """Everything that `optimizer_steps` needs.

    model: all modules that learn. steps: may change on the way. schedule: of the learning rate, which ends at the last of
    `steps`. metrics: further ones of the step just made, such as those of the rollout that it learned from.
    """

    model: nn.Module
    source: Source
    loss_function: LossFunction
    optimizers: Sequence[Optimizer]
    steps: int
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    max_norm: float = 1.0
    metrics: Callable[[], Mapping[str, float]] = dict

    def reports(self, first_step: int = 1) -> Iterator[StepReport]:
        """Train, yielding a report after each step. Raises NonFiniteLossError for a loss that is not a number."""
        reports = optimizer_steps(
            self.model,
            self.loss_function,
            self.source,
            self.optimizers,
            self.schedule,
            first_step=first_step,
            last_step=lambda: on_first(lambda: self.steps),
            max_norm=self.max_norm,
        )
        for report in reports:
            yield replace(report, metrics={**report.metrics, **self.metrics()})


def train(  # noqa: PLR0913  # what a caller may want to say, all but two by name
    model: nn.Module,
    batches: Iterable[Counted],
    loss_function: LossFunction,
    *,
    steps: int,
    learning_rate: float = 1e-3,
    optimizers: Sequence[Optimizer] | None = None,
    schedule: ScheduleConfig | None = None,
    accumulation: int = 1,
    max_norm: float = 1.0,
) -> Iterator[StepReport]:
    """Train a model, yielding a report after each optimizer step.

    Args:
        model: any module that `loss_function` can be called with.
        batches: micro-batches, such as a `RandomWindows`. Training ends early if they do.
        loss_function: maps (model, batch) to a `Loss`, such as `next_token_loss`.
        steps: optimizer steps.
        learning_rate: of the AdamW that is used where no `optimizers` are given, at the top of the schedule.
        optimizers: any of `torch.optim` whose step needs no closure; together they hold the parameters that learn.
        schedule: of the learning rate; by default warmup, then decay over the last 60 % of the steps.
        accumulation: micro-batches per optimizer step.
        max_norm: clip the gradient norm to this; 0 turns clipping off.

    Raises:
        UserError: for a number that makes no sense, no optimizers, or one whose step needs a closure.
        NonFiniteLossError: before a step whose loss or gradient is not finite reaches the weights.
    """
    numbers = {
        "steps": steps,
        "learning_rate": learning_rate,
        "accumulation": accumulation,
        "max_norm": max_norm,
    }
    from_table(Numbers, numbers, "folio.train")
    if optimizers is None:
        optimizers = [torch.optim.AdamW(model.parameters(), lr=learning_rate)]
    _check_optimizers(optimizers)
    task = Task(
        model=model,
        source=Accumulated(batches, accumulation),
        loss_function=loss_function,
        optimizers=optimizers,
        steps=steps,
        schedule=schedule or ScheduleConfig(),
        max_norm=max_norm,
    )
    return task.reports()


@dataclass(frozen=True, kw_only=True)
class Numbers(Settings):
    """The bounds of the numbers that `train` takes."""

    steps: Count
    learning_rate: Positive
    accumulation: Many
    max_norm: NonNegative


def _check_optimizers(optimizers: Sequence[Optimizer]) -> None:
    """Raise UserError unless there are optimizers, and each can step on gradients that the loop has computed."""
    if not optimizers:
        raise UserError("optimizers is empty: leave it out for AdamW, or name at least one.")
    for optimizer in optimizers:
        arguments = inspect.signature(optimizer.step).parameters.values()
        if any(each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD for each in arguments):
            raise UserError(
                f"the step of {type(optimizer).__name__} needs a closure, which the loop has not: choose an optimizer "
                "that steps on gradients, such as AdamW."
            )
