"""Several ranks of one job, each a process of its own on this machine."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from killing import PROCESSES, at, die, interrupt, nth, wrap
from random_models import TOKENIZER, random_gpt
from torch import Tensor

from folio import cli
from folio.batch import Batch
from folio.checkpoint import random_state, restore_random_state, save_state
from folio.data.windows import RandomWindows
from folio.distributed import agreed, joined, on_first, own_chance, rank, shared_out, world_size
from folio.errors import UserError
from folio.objectives.next_token import next_token_loss
from folio.runs.recorder import Recorder
from folio.training import loop
from folio.training.loop import Accumulated
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.task import Task

SECONDS = 300
"""More than any job takes on a busy machine; one that needs them hangs."""


def run_ranks(n: int, work: Callable[..., None], folder: Path, *arguments: Any) -> list[tuple[int, str]]:
    """The exit code and the output of each of n ranks, which do `work(folder, *arguments)`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    outputs = [folder / f"rank{number}.txt" for number in range(n)]
    processes = []
    for number, output in enumerate(outputs):
        output.unlink(missing_ok=True)
        settings = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": n, "MASTER_PORT": port}
        process = PROCESSES.Process(
            target=as_rank, args=(settings, str(output), work, str(folder), *arguments)
        )
        process.start()
        processes.append(process)
    for process in processes:
        process.join(SECONDS)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert None not in codes, "it hangs"
    return [(code, output.read_text(encoding="utf-8")) for code, output in zip(codes, outputs, strict=True)]


def as_rank(settings: dict[str, int], output: str, work: Callable[..., None], *arguments: Any) -> None:
    """In a process of its own: the work of one rank."""
    os.environ.update({name: str(value) for name, value in settings.items()}, MASTER_ADDR="127.0.0.1")
    file = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    work(*arguments)


def command(folder: str, moment: str, arguments: Sequence[str]) -> None:
    """The command line, up to a moment. Its exit code is that of the process."""
    name, _, number = moment.partition(" ")
    if name == "interrupted-at" and os.environ.get("RANK", "0") == "0":
        wrap(Recorder, "show", at(int(number)), do=interrupt)
    if name == "killed-at" and os.environ["RANK"] == "1":
        wrap(loop, "add_up", nth(int(number)), do=die)
    sys.exit(cli.main(arguments))


def train(optimizer: str) -> dict[str, Any]:
    """Five steps of a tiny model: their losses, and its weights after the first and after the last."""
    ids = torch.from_numpy(TOKENIZER.encode("a bad cafe fed a deaf cab " * 12))
    model = random_gpt(0, n_layer=3)
    task = Task(
        model=model,
        source=Accumulated(RandomWindows(ids, block_size=8, batch_size=2, seed=1), 4),
        loss_function=next_token_loss,
        optimizers=build_optimizers(model, OptimizerConfig(optimizer=optimizer)),
        steps=5,
    )
    losses, tokens, weights = [], 0, []
    for report in task.reports():
        losses.append(report.loss)
        tokens += report.n_tokens
        weights.append({name: value.detach().clone() for name, value in model.named_parameters()})
    state = task.source.state_dict()
    return {"losses": losses, "tokens": tokens, "first": weights[0], "last": weights[-1], "source": state}


def rows_times_two(rows: Tensor) -> Tensor:
    return 2 * rows


def library(folder: str) -> None:
    """What each function of folio.distributed does on this rank, and a training, as a file."""
    with joined():
        results: dict[str, Any] = {
            "rank": rank(),
            "size": world_size(),
            "decided": on_first(lambda: rank() + 10),
            "shared": [shared_out(torch.arange(2.0 * n).view(n, 2), rows_times_two) for n in (1, 2, 5)],
        }
        with own_chance(3):
            results["chance"] = torch.rand(3)
        state = random_state()
        torch.manual_seed(9)  # as in another process, which restores the state and continues
        restore_random_state(state)
        with own_chance(3):
            results["again"] = torch.rand(3)
        try:
            next(Accumulated([Batch.from_windows(torch.zeros((2, 5), dtype=torch.int64))], 1))
        except UserError as error:
            results["unshared"] = str(error)
        results["muon"], results["adamw"] = train("muon"), train("adamw")
        save_state(Path(folder) / f"rank{rank()}.safetensors", results)


def mistake_of_one(folder: str) -> None:
    """A mistake that only rank 1 can see."""
    try:
        with joined(), agreed():
            if rank() == 1:
                raise UserError("rank 1 lacks the file.")
    except UserError as error:
        print(error)
        sys.exit(2)
