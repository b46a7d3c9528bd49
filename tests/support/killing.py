"""Runs in processes of their own, which end at a chosen moment."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from folio import cli

PROCESSES = multiprocessing.get_context("forkserver")
"""One clean process that has imported folio; each run is a fork of it, and so starts at once."""
PROCESSES.set_forkserver_preload(
    ["folio.stages.pretrain", "folio.stages.ppo", "torch._dynamo", "matplotlib.pyplot", "pytest"]
)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def break_the_pipe() -> None:
    raise BrokenPipeError


def wrap(
    owner: Any, name: str, when: Callable[..., bool], *, after: bool = False, do: Callable[[], None] = die
) -> None:
    """Replace a function by one that ends its process before, or after, a call for which `when` is true."""
    original = getattr(owner, name)

    def wrapper(*arguments: Any, **more: Any) -> Any:
        is_time = when(*arguments)
        if is_time and not after:
            do()
        result = original(*arguments, **more)
        if is_time and after:
            do()
        return result

    setattr(owner, name, wrapper)


def nth(number: int) -> Callable[..., bool]:
    """True for the n-th call."""
    calls = iter(range(1, 10_000))
    return lambda *arguments: next(calls) == number


def at(step: int) -> Callable[..., bool]:
    """True for an action of `Recorder` on that step."""
    return lambda watch, report: report.step == step


def without_times(state: Any) -> Any:
    match state:
        case dict():
            times = ("train_seconds", "seconds", "pause_seconds")
            return {k: without_times(v) for k, v in state.items() if k not in times}
        case list():
            return [without_times(each) for each in state]
        case _:
            return state.tolist() if hasattr(state, "tolist") else state


def run_until(arrange: Callable[[], None], arguments: list[str], output: str) -> None:
    """In a process of its own: the command line, up to the moment for which `arrange` has made ready."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arrange()
    sys.exit(cli.main(arguments))


def in_a_process(
    child: Callable[..., None], moment: str, arguments: list[str], folder: Path
) -> tuple[int, str]:
    """`child` of moment, arguments and a file for the output: its exit code, and all that was written."""
    output = folder / "output.txt"
    output.unlink(missing_ok=True)
    process = PROCESSES.Process(target=child, args=(moment, arguments, str(output)))
    process.start()
    process.join(200)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode, output.read_text(encoding="utf-8")
