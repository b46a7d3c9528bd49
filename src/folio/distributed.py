"""Several processes, the ranks, that train one model together, as torchrun starts them.

In a world of one there is no process group: each function here then does the obvious thing, at no cost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from folio.batch import Loss, Uncounted
from folio.errors import UserError
from folio.hashing import hash64

T = TypeVar("T")
TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others, which are silent while rank 0 evaluates and saves. A rank that has died is
noticed at once."""
INTERRUPTED = 130
"""The exit code of shells for Ctrl-C: 128 + SIGINT."""
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out waiting")
"""What gloo says, in errors of no type of their own, where another rank has gone."""


def rank() -> int:
    """Return the number of this process among the ranks, from 0. Rank 0 decides, and writes."""
    return dist.get_rank() if is_several() else 0


def world_size() -> int:
    """Return the number of ranks."""
    return dist.get_world_size() if is_several() else 1


def is_several() -> bool:
    """Return whether there is a process group."""
    return dist.is_available() and dist.is_initialized()


@contextmanager
def joined() -> Iterator[None]:
    """Make this process one of the ranks that torchrun has started, if it has, while the block runs.

    All but rank 0 are silent in the block. On CUDA each takes the GPU of its local rank. A block that raises leaves the
    group as it is, since the others may be gone: the process is to end. Raises UserError where there are too few GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        if local_rank >= torch.cuda.device_count():
            raise UserError(
                f"this machine has {torch.cuda.device_count()} GPUs, and process {local_rank + 1} of it gets none: start fewer, "
                "or hide the GPUs with CUDA_VISIBLE_DEVICES= to compute on the CPU."
            )
        torch.cuda.set_device(local_rank)
    dist.init_process_group(backend, timeout=TIMEOUT)
    with _silent() if rank() else nullcontext():
        yield
    dist.destroy_process_group()


@contextmanager
def _silent() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def on_first(compute: Callable[[], T]) -> T:
    """Compute something on rank 0, and return it on every rank.

    Where it raises, the other ranks raise SystemExit with the code with which rank 0 will end: an error's `exit_code`, 130
    for KeyboardInterrupt, or 1.
    """
    if not is_several():
        return compute()
    if rank():
        value, code = _broadcast((None, None))
        if code is not None:
            raise SystemExit(code)
        result: T = value
        return result
    try:
        result = compute()
    except BaseException as error:
        code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)
        _broadcast((None, code))
        raise
    _broadcast((result, None))
    return result


def _broadcast(value: Any) -> Any:
    values = [value]
    dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return values[0]


@contextmanager
def agreed() -> Iterator[None]:
    """Let a UserError that any rank raises in the block end all of them: rank 0 with its message, the others silently.

    Ranks do not exchange anything in the block. It ends when all have come to its end.
    """
    message = None
    try:
        yield
    except UserError as error:
        if not is_several():
            raise
        message = str(error)
    if is_several():
        messages: list[str | None] = [None] * world_size()
        dist.all_gather_object(messages, message)
        found = [each for each in messages if each is not None]
        if found:
            raise UserError(found[0]) if rank() == 0 else SystemExit(UserError.exit_code)


def add_up(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all ranks; the tensor is changed."""
    if is_several():
        dist.all_reduce(values)
    return values


def shared_out(rows: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """Compute something of each row, (N, ...), where each rank takes its share of them, and return all results, (N, ...)."""
    if not is_several():
        return compute(rows)
    size = -(-len(rows) // world_size())
    padded = rows.new_zeros(size * world_size(), *rows.shape[1:])
    padded[: len(rows)] = rows
    own = compute(padded[rank() * size : (rank() + 1) * size]).contiguous()
    results = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(results, own)
    return torch.cat(results)[: len(rows)]


class Summing(nn.Module):
    """A loss function as a module, for PyTorch's `DistributedDataParallel`, which adds up gradients while the backward pass
    still computes. It goes around the loss and not around the model, so that a loss may use any part of the model.
    """

    def __init__(self, model: nn.Module, loss_function: Callable[[Any, Any], Loss]) -> None:
        super().__init__()
        self.model = model
        self.loss_function = loss_function

    def forward(self, batch: Any) -> Loss:
        """Return the loss of the model on a batch, which may be `batch.py: Uncounted`."""
        if isinstance(batch, Uncounted):
            return self.loss_function(self.model, batch.batch).times(0)
        return self.loss_function(self.model, batch)


def summed_losses(model: nn.Module, loss_function: Callable[[Any, Any], Any]) -> Callable[[Any, bool], Any]:
    """Return a function of (batch, is_last) that computes the loss of a model.

    The backward pass of the last micro-batch of a step, which every rank must make, ends with the gradients of the step
    added up over all ranks; those of the others stay where they are.
    """
    if not is_several():
        return lambda batch, is_last: loss_function(model, batch)
    everywhere = DistributedDataParallel(Summing(model, loss_function), gradient_as_bucket_view=True)
    everywhere.register_comm_hook(None, lambda _, bucket: _sum(bucket))

    def compute(batch: Any, is_last: bool) -> Loss:
        with nullcontext() if is_last else everywhere.no_sync():
            loss: Loss = everywhere(batch)
        return loss

    return compute


def _sum(bucket: Any) -> torch.futures.Future[Tensor]:
    """Add up the gradients of a bucket, where DistributedDataParallel would take the mean."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    future: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return future


def own_chance(step: int) -> AbstractContextManager[Any]:
    """Return a context in which torch's random numbers, those of dropout, are of this rank and step alone.

    They follow from the seed, so that a resumed run with as many ranks has the same. In a world of one they go on as before.
    """
    return _reseeded(step) if is_several() else nullcontext()


@contextmanager
def _reseeded(step: int) -> Iterator[None]:
    seed = hash64(torch.initial_seed() % 2**63, step, rank())
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(seed) % 2**63)
        yield


def is_lost(error: BaseException) -> bool:
    """Return whether an error says that another rank has gone."""
    if not (is_several() and isinstance(error, RuntimeError)):
        return False
    return isinstance(error, dist.DistError) or any(words in str(error) for words in LOST)
