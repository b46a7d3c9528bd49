"""The process: its socket, connections that are given up in time, and an end that lets answers finish."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from folio.errors import UserError

FIRST_PORT, N_PORTS = 8000, 20
"""Where no port is asked for, the first free one of so many."""
HEAD_SECONDS = 10.0
"""Most seconds in which the head of a request must have arrived, from the connection or its first byte on."""
STALLED_SECONDS = 30.0
"""Most seconds in which a client reads nothing of what waits for it."""
FINISH_SECONDS = 60.0
"""Most seconds for answers to finish when the server stops."""


class PatientProtocol(H11Protocol):
    """HTTP that gives up clients who never finish the head of a request, or stop reading."""

    _head: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head = self.loop.call_later(HEAD_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        is_waiting = self.cycle is None or self.cycle.response_complete
        if is_waiting and self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self.transport.abort)
        elif not is_waiting and self._head is not None:
            self._head.cancel()
            self._head = None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._head, self._stalled):
            if timer is not None:
                timer.cancel()


class Server(uvicorn.Server):
    """A server that ends on Ctrl-C when its answers are finished, and on the second one at once.

    on_stop: is called at the first, with the number of requests that are still being answered.
    """

    def __init__(self, app: Starlette, on_stop: Callable[[int], None] = lambda n: None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=PatientProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(FINISH_SECONDS),
            )
        )
        self._app = app
        self._on_stop = on_stop
        self.was_forced = False
        """Whether it ended before its answers were finished."""
        self._running: asyncio.AbstractEventLoop | None = None

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._running = asyncio.get_running_loop()
        await super()._serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        is_second = self.should_exit
        self.should_exit = True
        if sig != signal.SIGINT:  # which uvicorn would send to this process again when it has ended
            super().handle_exit(sig, frame)
        if self._running is not None:
            self._running.call_soon_threadsafe(self._drop_all if is_second else self._stop)

    def stop(self) -> None:
        """Stop as Ctrl-C does, from another thread."""
        self.handle_exit(signal.SIGINT, None)

    def _stop(self) -> None:
        self._app.state.closing.set()
        self._on_stop(len(self.server_state.tasks))

    def _drop_all(self) -> None:
        self.was_forced = True  # uvicorn's own force_exit would leave out the end of the application
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def bind(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens on a port, or where none is given on the first free one from 8000 on.

    Raises UserError where the port is taken, or the address is not this machine's.
    """
    candidates = range(FIRST_PORT, FIRST_PORT + N_PORTS) if port is None else [port]
    for candidate in candidates:
        try:
            return listen(host, candidate)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES) or port is not None:
                raise UserError(refusal(host, candidate, error)) from None
    raise UserError(f"the ports {candidates[0]} to {candidates[-1]} are taken: choose another with --port.")


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises OSError."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would share a port that is taken
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(2048)
        found.setblocking(False)
    except OSError:
        found.close()
        raise
    return found


def refusal(host: str, port: int, error: OSError) -> str:
    """Say why a port cannot be had."""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken by another program: choose another with --port, or leave --port out."
    if error.errno == errno.EACCES:
        return f"port {port} is not for everyone: choose one from 1024 on with --port."
    return f"--host {host}: this machine does not have that address ({error.strerror or error})."


def address_of(listening: socket.socket, host: str) -> str:
    """Return the address to open in a browser."""
    port: Any = listening.getsockname()[1]
    if host in ("0.0.0.0", "::", ""):
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
