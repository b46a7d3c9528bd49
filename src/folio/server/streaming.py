"""Answers to clients who may leave at any moment, whole or as a stream of events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from folio.server.errors import ApiError, as_api_error

T = TypeVar("T")
KEEP_ALIVE = b": still waiting\n\n"
"""A comment: to clients it is nothing, to what lies between a sign of life."""
KEEP_ALIVE_SECONDS = 10.0
logger = logging.getLogger(__name__)


def timed_out(seconds: float) -> ApiError:
    """Return the error of a request that took too long."""
    return ApiError(
        408,
        f"The answer was not finished within {seconds:g} seconds: ask for less, or raise --timeout.",
        code="request_timeout",
        headers={"x-should-retry": "false"},
    )


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T], seconds: float) -> T | None:
    """Return what `work` gives; cancel it and return None when the client leaves, queued or not.

    Raises ApiError (408) where it takes longer than so many seconds.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        done, _ = await asyncio.wait((task, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise timed_out(seconds)
        return task.result() if task.done() else None
    finally:
        for each in (task, gone):
            each.cancel()
        for each in (task, gone):
            with suppress(asyncio.CancelledError, Exception):
                await each


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Nothing(Response):
    """The response to a client who has left."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing."""


class EventStream(Response):
    """A stream of server-sent events.

    chunks:     the events as bytes. What is raised before the first of them is an ordinary error; the stream begins with it.
    seconds:    most seconds for the whole.
    last_words: makes an event of an error that comes later.
    """

    media_type = "text/event-stream"

    def __init__(
        self, chunks: AsyncGenerator[bytes, None], seconds: float, last_words: Callable[[ApiError], bytes]
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._chunks = chunks
        self._seconds = seconds
        self._last_words = last_words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end, or the client leaves."""
        state = _Sending(send)
        try:
            await while_connected(receive, self._send(state), self._seconds)
        except Exception as error:
            if not state.has_started:
                raise
            told = as_api_error(error)
            if told.status == 500:
                logger.exception("an answer failed")
            await state(self._last_words(told))
            await state.end()

    async def _send(self, send: _Sending) -> None:
        async with aclosing(self._chunks):
            async for chunk in self._chunks:
                if not send.has_started:
                    await send.start(self)
                await send(chunk)
        await send.end()


class _Sending:
    """The sending side of a response."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_started = False

    async def start(self, response: Response) -> None:
        self.has_started = True
        await self._send(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )

    async def __call__(self, chunk: bytes) -> None:
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def error_event(error: ApiError) -> bytes:
    """Return an error as an event, in which a client of OpenAI's finds it."""
    return b"data: " + error.to_json().encode() + b"\n\n"
