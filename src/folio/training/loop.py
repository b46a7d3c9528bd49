"""The one training loop. Every stage is a source of batches and a loss put through it."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from threading import Event, current_thread, main_thread
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

from folio.batch import Loss
from folio.training.schedule import ScheduleConfig

LossFunction = Callable[[Any, Any], Loss]
"""Of a model and one of its stage's batches."""


class Counted(Protocol):
    """What the loop needs of a batch."""

    @property
    def n_tokens(self) -> int: ...
    def to(self, device: torch.device) -> Self: ...


AnyBatch = TypeVar("AnyBatch", bound=Counted)


class NonFiniteLossError(Exception):
    """The loss or the gradient of a step is NaN or infinite. The weights are those from before the step."""

    def __init__(self, step: int, loss: float, gradient_norm: float) -> None:
        super().__init__(f"step {step}: loss {loss}, gradient norm {gradient_norm}")
        self.step = step


@dataclass(frozen=True)
class StepReport:
    """What one optimizer step did. Losses and metrics are means over all that counted in the step."""

    step: int
    loss: float
    metrics: dict[str, float]
    gradient_norm: float
    learning_rate: float
    n_tokens: int
    seconds: float


def accumulate(batches: Iterable[AnyBatch], size: int) -> Iterator[list[AnyBatch]]:
    """Groups of `size` micro-batches, one group for each optimizer step."""
    iterator = iter(batches)
    while group := list(islice(iterator, size)):
        yield group


def optimizer_steps(
    model: nn.Module,
    loss_function: LossFunction,
    groups: Iterable[Sequence[Counted]],
    optimizers: Sequence[Optimizer],
    schedule: ScheduleConfig,
    *,
    steps: range,
    max_norm: float,
) -> Iterator[StepReport]:
    """Make one optimizer step for each group of micro-batches, and report it.

    steps: the numbers of the steps to make; the schedule ends at `steps.stop - 1`. A resumed run starts later.
    The gradient of a group is the sum of its losses' gradients over the sum of their counts, so how a step is
    cut into micro-batches does not change it. Raises NonFiniteLossError before a bad step reaches the weights.
    """
    device = next(model.parameters()).device
    model.train()
    start = (
        time.perf_counter()
    )  # a group may take long to make: in reinforcement learning it is written first
    for step, group in zip(steps, groups, strict=False):
        sums: dict[str, float] = {}
        total, count, n_tokens = 0.0, 0.0, 0
        for batch in group:
            loss = loss_function(model, batch.to(device))
            loss.total.backward()  # type: ignore[no-untyped-call]
            total += loss.total.item()
            count += loss.count.item()
            n_tokens += batch.n_tokens
            for name, value in loss.metrics.items():
                sums[name] = sums.get(name, 0.0) + value.item()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        torch._foreach_div_(gradients, count)
        norm = torch.nn.utils.get_total_norm(gradients)
        if not (math.isfinite(total) and math.isfinite(norm.item())):
            raise NonFiniteLossError(step, total / count if count else math.nan, norm.item())
        if max_norm:
            torch.nn.utils.clip_grads_with_norm_(model.parameters(), max_norm, norm)
        multiplier = schedule.multiplier(step, steps.stop - 1)
        for optimizer in optimizers:
            for parameters in optimizer.param_groups:
                parameters["lr"] = parameters["peak_lr"] * multiplier
            optimizer.step()
            optimizer.zero_grad()
        yield StepReport(
            step=step,
            loss=total / count,
            metrics={name: value / count for name, value in sums.items()},
            gradient_norm=norm.item(),
            learning_rate=optimizers[0].param_groups[0]["lr"],
            n_tokens=n_tokens,
            seconds=time.perf_counter() - start,
        )
        start = time.perf_counter()


Action = Callable[[StepReport], None]


@dataclass(frozen=True)
class Every:
    """Do something after every `interval` steps, and after the last one."""

    interval: int
    action: Action

    def is_due(self, step: int, last_step: int) -> bool:
        return step % self.interval == 0 or step == last_step


def fit(
    reports: Iterator[StepReport],
    *,
    last_step: int,
    save: Every,
    then: Sequence[Every],
    unfinished: StepReport | None = None,
    tell: Callable[[], object] = lambda: None,
) -> None:
    """Run the steps, and what is due after each: first `save`, then the others in order.

    Saving first means that nothing which comes after can lose work. So a run that was killed after a save may
    not have done the rest: `unfinished` is the saved step's report, for which `then` is done before going on.

    Ctrl-C, or SIGTERM, calls `tell`, for a step may last, lets the step in hand end, saves, and raises
    KeyboardInterrupt; a second Ctrl-C does not wait. An action may end the run by raising.
    """
    with deferred_interrupt(tell) as interrupt:
        if unfinished is not None:
            _run_due(then, unfinished, last_step)
            if interrupt.is_set():
                raise KeyboardInterrupt
        for report in reports:
            # When it comes too late to be saved with this step, it is the next one that ends the run.
            is_saved = interrupt.is_set() or save.is_due(report.step, last_step)
            if is_saved:
                save.action(report)
            _run_due(then, report, last_step)
            if is_saved and interrupt.is_set():
                raise KeyboardInterrupt


def _run_due(actions: Sequence[Every], report: StepReport, last_step: int) -> None:
    for every in actions:
        if every.is_due(report.step, last_step):
            every.action(report)


@contextmanager
def deferred_interrupt(tell: Callable[[], object]) -> Iterator[Event]:
    """Turn the first Ctrl-C or SIGTERM into an event to look at, and `tell` of it; a second one acts as usual."""
    event = Event()
    signals = (signal.SIGINT, signal.SIGTERM) if current_thread() is main_thread() else ()
    previous = {number: signal.getsignal(number) for number in signals}

    def note(number: int, frame: object) -> None:
        event.set()
        signal.signal(number, previous[signal.Signals(number)])
        with suppress(OSError):  # a reader that has gone must not end the step in hand
            tell()

    for number in signals:
        signal.signal(number, note)
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
