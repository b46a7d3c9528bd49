"""One thread for each loaded model: it owns the batch, and nothing else touches the model."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import TypeVar

from folio.inference.batching import Batch, Event, Request, Row
from folio.server.errors import ApiError

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Worker:
    """A model's thread. All methods are for the event loop's thread.

    new_batch: makes an empty batch. It is called in the thread, to which its model belongs from now on, for the first request
    and for the next one after a failure.
    limit: most answers that are written or may wait.
    """

    def __init__(self, new_batch: Callable[[], Batch], *, limit: int) -> None:
        self._new_batch = new_batch
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._commands: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._owners: dict[Row, tuple[Generation, int]] = {}
        """Who asked for a row, and as which of its requests. The thread's alone."""
        self._n_open = 0
        self._n_calls = 0
        self._is_closed = False
        self._is_ending = False
        self._batch: Batch | None = None
        """The thread's alone, but for `n_running`."""
        self._thread = threading.Thread(target=self._run, name="folio-worker", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not (self._n_open or self._n_calls)

    @property
    def n_running(self) -> int:
        """Answers that are being written, or whose prompt is being read."""
        batch = self._batch
        return batch.n_running if batch else 0

    @property
    def n_waiting(self) -> int:
        """Answers that wait for a place."""
        return max(0, self._n_open - self.n_running)

    def generate(self, requests: Sequence[Request]) -> Generation:
        """Continue prompts together. Use it in a `with` block: leaving that frees all places at once.

        Raises ApiError (400) for more than may ever wait, (429) where too many do already, (503) where the worker was
        closed.
        """
        self._check_open()
        if len(requests) > self._limit:
            raise ApiError(
                400, f"{len(requests)} answers are asked for: this server takes {self._limit} at a time.", "n"
            )
        if self._n_open + len(requests) > self._limit:
            raise ApiError(
                429,
                f"{self._n_open} answers are being written or wait, which is all that this server takes: try again later.",
                code="rate_limit_exceeded",
                headers={"Retry-After": "1"},
            )
        self._n_open += len(requests)
        return Generation(self, len(requests), self._command, requests)

    async def call(self, function: Callable[[], T]) -> T:
        """Run a short function in the thread, between two steps, and return its result or raise its error."""
        self._check_open()
        result: asyncio.Future[T] = self._loop.create_future()
        self._n_calls += 1

        def command() -> None:
            if result.cancelled():
                return
            try:
                self._post(_settle, result, function(), None)
            except BaseException as error:  # whatever it is, it is the caller's
                self._post(_settle, result, None, error)

        self._commands.put(command)
        try:
            return await result
        finally:
            self._n_calls -= 1

    def close(self) -> None:
        """Take no more work; the thread ends when what it has is done."""
        if not self._is_closed:
            self._is_closed = True
            self._commands.put(None)

    def join(self, seconds: float) -> None:
        """Wait until the thread of a closed worker has ended, at most for so long."""
        self._thread.join(seconds)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ApiError(
                503, "The model was unloaded: try again.", code="unloaded", headers={"Retry-After": "1"}
            )

    def _command(self, command: Callable[[], None]) -> None:
        self._commands.put(command)

    def _post(self, function: Callable[..., None], *arguments: object) -> None:
        """Have the event loop call a function."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop has ended, and with it whoever would listen
            self._is_closed = True

    def _run(self) -> None:
        while True:
            try:
                if not self._obey():
                    return
                events = self._batch.step() if self._batch else []
            except Exception as error:
                logger.exception("the batch failed")
                self._fail(error)
            else:
                self._hand_over(events)

    def _obey(self) -> bool:
        """Run the commands that have come; wait for one while there is nothing to write. Return whether to go on."""
        while self._has_nothing_to_write() or not self._commands.empty():
            if self._is_ending and self._has_nothing_to_write() and self._commands.empty():
                return False
            command = self._commands.get()
            if command is None:
                self._is_ending = True
            else:
                command()
        return True

    def _has_nothing_to_write(self) -> bool:
        return self._batch is None or self._batch.idle

    def _hand_over(self, events: Sequence[Event]) -> None:
        """Give the events of a step to those who wait for them, with one wake of the loop."""
        if not events:
            return
        owned = [(*self._owners[event.row], event) for event in events if event.row in self._owners]
        for event in events:
            if event.finish_reason is not None:
                self._owners.pop(event.row, None)
        self._post(self._deliver, owned)

    def _deliver(self, owned: Sequence[tuple[Generation, int, Event]]) -> None:
        for generation, index, event in owned:
            generation.receive(index, event)

    def _fail(self, error: Exception) -> None:
        """Tell everyone whose answer is lost. The next request begins with an empty batch."""
        lost = {generation for generation, _ in self._owners.values()}
        self._owners.clear()
        self._batch = None
        for generation in lost:
            self._post(generation.fail, error)

    def start(self, generation: Generation, requests: Sequence[Request]) -> list[Row]:
        """Add rows to the batch. For the thread."""
        rows: list[Row] = []
        try:
            self._batch = self._batch or self._new_batch()
            for index, request in enumerate(requests):
                rows.append(self._batch.add(request))
                self._owners[rows[-1]] = (generation, index)
        except Exception as error:  # no memory for a batch, or an id that the model lacks
            self.stop(rows)
            self._post(generation.fail, error)
        return rows

    def stop(self, rows: Sequence[Row]) -> None:
        """Take rows out of the batch, wherever they are. For the thread."""
        for row in rows:
            if self._owners.pop(row, None) is not None and self._batch is not None:
                self._batch.cancel(row)

    def release(self, n: int) -> None:
        """Note that so many answers have ended."""
        self._n_open -= n


class Generation:
    """Answers in progress: an asynchronous iterator over what was written since it was last asked.

    Each item is a list of (index of the request, event), never empty. It ends when every answer has.
    """

    def __init__(
        self,
        worker: Worker,
        n: int,
        command: Callable[[Callable[[], None]], None],
        requests: Sequence[Request],
    ) -> None:
        self._worker = worker
        self._command = command
        self._events: list[tuple[int, Event]] = []
        self._open = set(range(n))
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._rows: list[Row] = []
        command(lambda: self._rows.extend(worker.start(self, requests)))

    def __enter__(self) -> Generation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            self._command(lambda: self._worker.stop(self._rows))
        self._worker.release(len(self._open))
        self._open.clear()

    def __aiter__(self) -> Generation:
        return self

    async def __anext__(self) -> list[tuple[int, Event]]:
        await self.wait()
        if not self._events:
            raise StopAsyncIteration
        events, self._events = self._events, []
        return events

    async def wait(self) -> None:
        """Wait until there is something to take, or all has ended. Raises the error of a batch that has failed."""
        while not self._events and self._open:
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def finish(self, index: int) -> None:
        """End an answer from outside, as where its text has reached a stop string."""
        if index in self._open:
            self._command(lambda: self._worker.stop(self._rows[index : index + 1]))
            self._end(index)

    def receive(self, index: int, event: Event) -> None:
        """Take an event. For the worker, in the event loop's thread."""
        if index not in self._open:
            return
        self._events.append((index, event))
        if event.finish_reason is not None:
            self._end(index)
        self._wake()

    def fail(self, error: Exception) -> None:
        """Take the news that the answers are lost. For the worker, in the event loop's thread."""
        self._error = error
        self._wake()

    def _end(self, index: int) -> None:
        self._open.discard(index)
        self._worker.release(1)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _settle(future: asyncio.Future[T], result: T, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
