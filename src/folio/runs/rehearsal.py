"""A rehearsal of a run: a few steps on a copy of the model, to compile it and to see how long a step takes."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.console import Console
from torch._dynamo.exc import TorchDynamoException

from folio.checkpoint import random_state, restore_random_state
from folio.errors import UserError
from folio.evaluation.loss import HeldOut
from folio.model.transformer import Transformer
from folio.runs.state import Training
from folio.training.loop import NonFiniteLossError, accumulate, optimizer_steps
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.schedule import ScheduleConfig

EVALUATIONS = 10
"""Looks at the whole validation text in a run, evenly spread; a checkpoint comes before each."""
REHEARSAL_STEPS = 4
"""Steps made on a copy of the model before the start: the first compiles, the others are timed."""


@dataclass(frozen=True)
class Rehearsal:
    """How long a step takes, and an evaluation."""

    step_seconds: float
    evaluation_seconds: float

    def seconds(self, steps: int) -> float:
        """Those of a run of so many steps, with its evaluations."""
        return steps * self.step_seconds + EVALUATIONS * self.evaluation_seconds


def rehearse(
    training: Training, optimizer: OptimizerConfig, schedule: ScheduleConfig, console: Console
) -> Rehearsal:
    """Make a few steps on a copy of the model, so that compiling is over before the clock starts, and time them.
    Nothing in `training` changes, its random state included, but for compiling, or giving it up."""
    held_out = training.evaluation
    assert isinstance(held_out, HeldOut), "only what measures a loss is rehearsed"
    before = random_state()
    if training.runtime.compiles:
        console.print("Compiling ...")
    try:
        step_seconds = timed_step(training, optimizer, schedule)
    except TorchDynamoException:
        if not training.runtime.compiles:
            raise
        console.print("The compiler on this machine does not work; going on without it.")
        training.runtime = replace(training.runtime, compiles=False)
        step_seconds = timed_step(training, optimizer, schedule)
    if training.runtime.compiles:
        compile_blocks(training.model)
    batch_seconds = []
    for _ in range(2):
        start = time.perf_counter()
        replace(held_out, batches=held_out.batches[:1])(training.model)
        batch_seconds.append(time.perf_counter() - start)
    restore_random_state(before)
    return Rehearsal(step_seconds, min(batch_seconds) * len(held_out.batches))


def timed_step(training: Training, optimizer: OptimizerConfig, schedule: ScheduleConfig) -> float:
    """Seconds for a step, once it is compiled. Raises UserError where the memory or the loss does not hold."""
    twin, plan = copy.deepcopy(training.model), training.plan
    if training.runtime.compiles:
        compile_blocks(twin)
    source: Any = copy.copy(training.source)  # its counters are the copy's own
    reports = optimizer_steps(
        twin,
        training.loss_function,
        accumulate(source, plan.accumulation),
        build_optimizers(twin, optimizer, muon_dtype=training.runtime.compute_dtype),
        schedule,
        steps=range(1, REHEARSAL_STEPS + 1),
        max_norm=optimizer.max_norm,
    )
    try:
        seconds = [report.seconds for report in reports]
    except NonFiniteLossError as error:
        raise diverged(error, "nothing has been written yet") from None
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise UserError(
                f"A step of {plan.micro_batch_size} sequences does not fit into memory: "
                "make --micro-batch-size smaller, or the model."
            ) from None
        raise
    return min(seconds[1:])  # the others may have met something else that the machine did


def compile_blocks(model: Transformer) -> None:
    """Compile each block; they are alike, so the first one's code serves all."""
    for block in model.blocks:
        block.compile()


def diverged(error: NonFiniteLossError, kept: str) -> UserError:
    """What to tell when the loss is no longer a number."""
    return UserError(
        f"The loss is no longer a number ({error}): most often the learning rate is too high. "
        f"Training has stopped; {kept}. Start again with a lower --learning-rate and another --run."
    )
