"""The training loop. Every stage is a source of batches and a loss function put through it."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count, islice, takewhile
from threading import Event, current_thread, main_thread
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from folio.batch import Loss
from folio.distributed import add_up, on_first, own_chance, rank, summed_losses, world_size
from folio.errors import UserError
from folio.training.schedule import ScheduleConfig
from folio.training.spacing import is_due

LossFunction = Callable[[Any, Any], Loss]
"""Return the loss of a model on one batch."""


class Counted(Protocol):
    """A batch, as far as the loop is concerned."""

    @property
    def n_tokens(self) -> int: ...
    def to(self, device: torch.device) -> Self: ...


AnyBatch = TypeVar("AnyBatch", bound=Counted)


class NonFiniteLossError(Exception):
    """The loss or the gradient of a step is NaN or infinite. The weights are still those from before the step."""

    def __init__(self, step: int, loss: float, gradient_norm: float) -> None:
        super().__init__(f"step {step}: loss {loss}, gradient norm {gradient_norm}")
        self.step = step


@dataclass(frozen=True)
class StepReport:
    """The result of one optimizer step.

    loss, metrics: means over everything that counted in the step. learning_rate: of the first optimizer. seconds: wall
    clock, with the time it took to make the batches.
    """

    step: int
    loss: float
    metrics: dict[str, float]
    gradient_norm: float
    learning_rate: float
    n_tokens: int
    seconds: float


class Accumulated(Generic[AnyBatch]):
    """A source of step-groups: `size` micro-batches of another source for each optimizer step.

    Its state is that source's. A source that ends in the middle of a group gives a last, smaller one. Of several ranks each
    gets its part of the group, from a source that has a method `share` (`data/order.py: OrderedSource`).
    """

    def __init__(self, batches: Iterable[AnyBatch], size: int) -> None:
        self.batches = batches
        self.size = size
        self._iterator = iter(batches)

    def __iter__(self) -> Iterator[list[AnyBatch]]:
        return self

    def __next__(self) -> list[AnyBatch]:
        if world_size() > 1:
            return self._share()
        if group := list(islice(self._iterator, self.size)):
            return group
        raise StopIteration

    def _share(self) -> list[AnyBatch]:
        share: Callable[[int, int, int], list[AnyBatch]] | None = getattr(self.batches, "share", None)
        if share is None:
            raise UserError(
                f"{type(self.batches).__name__} cannot be shared among {world_size():,} processes: take a source such as "
                "RandomWindows, or one process."
            )
        return share(self.size, rank(), world_size())

    def state_dict(self) -> dict[str, Any]:
        return self.batches.state_dict()  # type: ignore[attr-defined]  # only a run that resumes asks for it

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.batches.load_state_dict(state)  # type: ignore[attr-defined]


def optimizer_steps(
    model: nn.Module,
    loss_function: LossFunction,
    groups: Iterable[Sequence[Counted]],
    optimizers: Sequence[Optimizer],
    schedule: ScheduleConfig,
    *,
    last_step: Callable[[], int],
    max_norm: float,
    first_step: int = 1,
) -> Iterator[StepReport]:
    """Make one optimizer step for each group of micro-batches and yield its report.

    last_step: returns the number of the step at which the schedule and the iteration end. It is asked before each step, as
    a run with a time limit learns on the way how many it can make. first_step: later than 1 in a resumed run.
    optimizers: any of `torch.optim` whose step needs no closure; the schedule multiplies each group's `initial_lr`, or
    its `lr` where there is none.
    The gradient of a group is the sum of its losses' gradients over the sum of their counts, so how a step is
    cut into micro-batches does not change it, nor into the parts of several ranks: all make the same step and report it.
    Raises NonFiniteLossError before a bad step reaches the weights.
    """
    device = next(model.parameters()).device
    compute_loss = summed_losses(model, loss_function)
    model.train()
    # Before the first group: in reinforcement learning, making one takes most of a step.
    start = time.perf_counter()
    steps = takewhile(lambda pair: pair[0] <= pair[1], ((step, last_step()) for step in count(first_step)))
    for (step, last), group in zip(steps, groups, strict=False):
        with own_chance(step):
            names, sums = _backward(compute_loss, group, device)
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        torch._foreach_div_(gradients, sums[1])
        norm = torch.nn.utils.get_total_norm(gradients)
        # The one synchronization of a step: everything that the host needs to know of it.
        total, n_counted, *others, n_tokens, gradient_norm = torch.cat([sums, norm.to(sums)[None]]).tolist()
        loss = total / n_counted if n_counted else math.nan
        if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
            raise NonFiniteLossError(step, loss, gradient_norm)
        if max_norm:
            torch.nn.utils.clip_grads_with_norm_(model.parameters(), max_norm, norm)
        multiplier = schedule.multiplier(step, last)
        for optimizer in optimizers:
            for parameters in optimizer.param_groups:
                parameters["lr"] = parameters.setdefault("initial_lr", parameters["lr"]) * multiplier
            optimizer.step()
            optimizer.zero_grad()
        yield StepReport(
            step=step,
            loss=loss,
            metrics={name: value / n_counted for name, value in zip(names, others, strict=True)},
            gradient_norm=gradient_norm,
            learning_rate=optimizers[0].param_groups[0]["lr"],
            n_tokens=round(n_tokens),
            seconds=time.perf_counter() - start,
        )
        start = time.perf_counter()


def _backward(
    compute_loss: Callable[[Any, bool], Loss], group: Sequence[Counted], device: torch.device
) -> tuple[list[str], Tensor]:
    """Add up the gradients of the losses' totals over a group, and over all ranks.

    Returns the names of the metrics, and on the device total, count, metrics and tokens, added up as well: (M + 3).
    """
    precision = torch.float64 if device.type == "cpu" else torch.float32  # not every GPU has the former
    sums = torch.zeros((), device=device, dtype=precision)
    names: list[str] = []
    for number, batch in enumerate(group, 1):
        loss = compute_loss(batch.to(device), number == len(group))
        loss.total.backward()  # type: ignore[no-untyped-call]
        names = list(loss.metrics)
        terms = (loss.total.detach(), loss.count, *loss.metrics.values())
        sums = sums + torch.stack([term.to(device, precision) for term in terms])
    n_tokens = sum(batch.n_tokens for batch in group)
    return names, add_up(torch.cat([sums, sums.new_tensor([n_tokens])]))


Action = Callable[[StepReport], None]


class When(Protocol):
    """An action, and the steps after which it is due."""

    @property
    def action(self) -> Action: ...
    def is_due(self, step: int, last_step: int) -> bool: ...


@dataclass(frozen=True)
class Every:
    """Run an action after every step."""

    action: Action

    def is_due(self, step: int, last_step: int) -> bool:
        return True


@dataclass(frozen=True)
class Spread:
    """Run an action at most `times` times in a run, at equal intervals, and after the last step."""

    times: int
    action: Action

    def is_due(self, step: int, last_step: int) -> bool:
        return is_due(self.times, step, last_step)


def fit(
    reports: Iterator[StepReport],
    *,
    last_step: Callable[[], int],
    save: When,
    then: Sequence[When],
    unfinished: StepReport | None = None,
    on_interrupt: Callable[[], object] = lambda: None,
) -> None:
    """Run the steps and the actions that are due after each: first `save`, then the others in order.

    Saving first means that nothing which comes after can lose work. So a run that was killed after a save may
    not have done the rest: `unfinished` is the saved step's report, for which `then` is done before going on.

    Ctrl-C, or SIGTERM, calls `on_interrupt`, lets the current step end, saves, and raises KeyboardInterrupt. Where the step
    is saved already, as in a long evaluation, it raises at once: the rest is done when the run is resumed. A second
    Ctrl-C acts at once. An action may end the run by raising. last_step: as for `optimizer_steps`.

    Of several ranks only rank 0 acts, and where it raises, all of them end (`distributed.py: on_first`).
    """

    def finish(report: StepReport) -> None:
        with interrupt.at_once():
            _run_due(then, report, last_step())

    def act(report: StepReport) -> None:
        last = (
            last_step()
        )  # as it was before the actions, which may change it: all or none of the rarer ones are due
        # When it comes too late to be saved with this step, it is the next one that ends the run.
        if interrupt.is_set() or save.is_due(report.step, last):
            save.action(report)
            with interrupt.at_once():
                _run_due(then, report, last)
        else:
            _run_due(then, report, last)

    with deferred_interrupt(on_interrupt) as interrupt:
        if unfinished is not None:
            on_first(partial(finish, unfinished))
        for report in reports:
            on_first(partial(act, report))


def _run_due(actions: Sequence[When], report: StepReport, last_step: int) -> None:
    for each in actions:
        if each.is_due(report.step, last_step):
            each.action(report)


class Interrupt:
    """Ctrl-C or SIGTERM, put off until `at_once`."""

    def __init__(self, on_interrupt: Callable[[], object]) -> None:
        self._on_interrupt = on_interrupt
        self._came = Event()
        self._acts = False

    def is_set(self) -> bool:
        """Return whether there was one."""
        return self._came.is_set()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let an interrupt raise KeyboardInterrupt in the block, or before it if there was one already."""
        if self.is_set():
            raise KeyboardInterrupt
        self._acts = True
        try:
            yield
        finally:
            self._acts = False

    def arrive(self) -> None:
        """Note an interrupt, and raise KeyboardInterrupt where it acts at once."""
        self._came.set()
        if self._acts:
            raise KeyboardInterrupt
        with suppress(OSError):  # a closed pipe must not end the current step
            self._on_interrupt()


@contextmanager
def deferred_interrupt(on_interrupt: Callable[[], object]) -> Iterator[Interrupt]:
    """Put off the first Ctrl-C or SIGTERM in the block, and call `on_interrupt`; a second one acts as usual."""
    interrupt = Interrupt(on_interrupt)
    signals = (signal.SIGINT, signal.SIGTERM) if current_thread() is main_thread() else ()
    previous = {number: signal.getsignal(number) for number in signals}

    def handle(number: int, frame: object) -> None:
        signal.signal(number, previous[signal.Signals(number)])
        interrupt.arrive()

    for number in signals:
        signal.signal(number, handle)
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
