"""A rehearsal: a few steps on a copy of the model before a run starts, to compile it and to time a step."""

from __future__ import annotations

import copy
import time
from dataclasses import replace

from rich.console import Console
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from folio.activity import activity
from folio.checkpoint import random_state, restore_random_state
from folio.distributed import on_first
from folio.errors import UserError, is_out_of_memory
from folio.evaluation.loss import HeldOut
from folio.runs.state import Training
from folio.training.loop import NonFiniteLossError

REHEARSAL_STEPS = 4
"""Steps on a copy of the model before the start: the first compiles, the others are timed."""


def rehearse(training: Training, held_out: HeldOut, console: Console) -> float:
    """Return the seconds of a step; compile the model where its runtime says so.

    The state of `training` and of the random generators is afterwards what it was, but for the budget's `pause_seconds`,
    which is that of an evaluation; and where the compiler does not work, its runtime is changed to one that does not
    compile. Raises UserError for a step that does not fit into memory or whose loss is not finite.
    """
    before, source = random_state(), training.task.source.state_dict()
    try:
        with activity("Compiling" if training.runtime.compiles else "Timing a step"):
            step_seconds = _timed_step(training)
    except TorchDynamoException:
        if not training.runtime.compiles:
            raise
        console.print("The compiler on this machine does not work; going on without it.")
        training.runtime = replace(training.runtime, compiles=False)
        step_seconds = _timed_step(training)
    if training.runtime.compiles:
        _compile_blocks(training.model)
    batch_seconds = []
    for _ in range(2):
        start = time.perf_counter()
        replace(held_out, batches=held_out.batches[:1])(training.model)
        batch_seconds.append(time.perf_counter() - start)
    training.task.source.load_state_dict(source)
    restore_random_state(before)
    pause_seconds = min(batch_seconds) * len(held_out.batches)
    step_seconds, training.budget.pause_seconds = on_first(lambda: (step_seconds, pause_seconds))
    return step_seconds


def _timed_step(training: Training) -> float:
    """Return the seconds of a step once it is compiled, measured on copies of model and optimizers."""
    model, optimizers = copy.deepcopy((training.task.model, training.task.optimizers))
    if training.runtime.compiles:
        _compile_blocks(model)
    twin = replace(training.task, model=model, optimizers=optimizers, steps=REHEARSAL_STEPS)
    try:
        seconds = [report.seconds for report in twin.reports()]
    except NonFiniteLossError as error:
        raise diverged(error, "nothing has been written yet") from None
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise UserError(
                f"A step of {training.plan.micro_batch_size} sequences does not fit into memory: "
                "make --micro-batch-size smaller, or the model."
            ) from None
        raise
    return min(seconds[1:])  # others may have been slowed down by something else


def _compile_blocks(model: nn.Module) -> None:
    """Compile each block; they are alike, so the first one's code serves all."""
    for block in model.get_submodule("blocks").children():
        block.compile()


def diverged(error: NonFiniteLossError, kept: str) -> UserError:
    """Return the error for a loss that is not finite. kept: what is left of the run, in words."""
    return UserError(
        f"The loss is no longer a number ({error}): most often the learning rate is too high. "
        f"Training has stopped; {kept}. Start again with a lower --learning-rate and another --run."
    )
