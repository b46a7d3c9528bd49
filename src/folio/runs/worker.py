"""A reward function in a process of its own, where it can do no harm."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, Any

import psutil

from folio.errors import FolioWarning, UserError
from folio.rl.functions import Asks, CallError, Row

IMPORT_SECONDS = 60.0
"""Time limit for importing the function's file, if that of a call is no longer: importing torch can take many seconds."""
GOODBYE_SECONDS = 1.0
"""Time in which a worker that is not needed any more can end by itself, and write what it has not written yet."""
LONGEST_OUTPUT = 100
"""Characters of a function's output that are shown."""
START = (
    "import sys; sys.path[:] = sys.argv[1:]; del sys.argv[1:]; "
    "from folio.runs.reward_worker import main; main()"
)


class Worker:
    """A process that runs one function of a file, `file.py:name`.

    It has a time limit for each call, which holds in C as well. It shares nothing with this process but its pipes and the
    import path: what the function prints, raises, forks or ends stays there. It ends with this object, or with this
    process. asks: the columns that the function asks for.

    Raises UserError where there is no such function, and where its file cannot be imported.
    """

    def __init__(self, function: str, seconds: float) -> None:
        self.function = function
        self.seconds = seconds
        self.process = start_process()
        self.replies: SimpleQueue[bytes] = SimpleQueue()
        self.output: list[str] = []
        # The threads hold the process and no more, so that this object can go.
        in_background(read_replies, self.process, self.replies)
        in_background(read_output, self.process, self.output)
        self.close = weakref.finalize(self, end, self.process)
        self.asks = self._load(max(seconds, IMPORT_SECONDS))

    def _load(self, seconds: float) -> Asks:
        file, _, _ = self.function.rpartition(":")
        self._send({"function": self.function, "seconds": self.seconds, "import_seconds": seconds})
        try:
            reply = self._receive(seconds)
        except CallError as error:
            raise UserError(f"{file} cannot be imported: it {error}.") from None
        if "failed" in reply:
            raise UserError(f"{file} cannot be imported: {reply['failed']}.")
        if "mistake" in reply:
            raise UserError(reply["mistake"])
        return Asks(**reply["asks"])

    def __call__(self, rows: Iterable[Row]) -> Iterator[float]:
        """Yield the reward of each row. Raises CallError where there is none, and whenever it is called again after that."""
        rows = list(rows)
        if not self.close.alive:
            raise CallError("has ended")
        try:
            self._send(rows)
            for _ in rows:
                reply = self._receive(self.seconds)
                if "failed" in reply:
                    raise CallError(reply["failed"])
                yield reply["reward"]
        except BaseException:  # Ctrl-C, too: what is still to come would be taken for the next batch's
            self.close()
            raise
        finally:
            self._show_output()

    def _send(self, request: object) -> None:
        line = json.dumps(request, default=str).encode() + b"\n"
        in_background(write, self.process, line)  # it waits where the worker does not read

    def _receive(self, seconds: float) -> dict[str, Any]:
        try:
            line = self.replies.get(timeout=seconds)
        except Empty:
            kill(self.process)
            raise CallError(f"took more than {seconds:g} seconds") from None
        if not line:
            raise CallError(words_on_end(self.process))
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _show_output(self) -> None:
        """Warn of the first line that the function has written, once."""
        if self.output and self.output[0]:
            line, self.output[0] = self.output[0], ""
            warnings.warn(
                f"{self.function} writes to the screen, which is not shown after this line: {line}",
                FolioWarning,
                stacklevel=3,
            )


def start_process() -> subprocess.Popen[bytes]:
    """Start a worker that has none of this process's files, and that Ctrl-C in the terminal does not reach."""
    own_group: dict[str, Any] = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined]
        if os.name == "nt"
        else {"start_new_session": True}
    )
    return subprocess.Popen(
        [sys.executable, "-P", "-c", START, *map(str, sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONHASHSEED": "0", **os.environ},  # or sets would have another order after --resume
        **own_group,
    )


def in_background(work: Callable[..., None], *arguments: object) -> None:
    """Call a function in a thread that ends with this process."""
    threading.Thread(target=work, args=arguments, daemon=True).start()


def read_replies(process: subprocess.Popen[bytes], replies: SimpleQueue[bytes]) -> None:
    """Put each line of a worker's standard output into the queue, and b"" at its end."""
    with pipe(process.stdout) as lines:
        for line in lines:
            replies.put(line)
    replies.put(b"")


def read_output(process: subprocess.Popen[bytes], output: list[str]) -> None:
    """Append the first line that a worker writes to its standard error, and read all others, so that it need not wait."""
    with pipe(process.stderr) as lines:
        while chunk := lines.readline(LONGEST_OUTPUT):
            words = chunk.decode(errors="replace").strip()
            if words and not output:
                output.append(words)


def write(process: subprocess.Popen[bytes], line: bytes) -> None:
    """Write a line to a worker, which may be gone: its reader notices that."""
    with suppress(OSError, ValueError):
        while line:
            line = line[raw_input(process).write(line) :]


def raw_input(process: subprocess.Popen[bytes]) -> io.RawIOBase:
    """Return the pipe to a worker without its buffer, which could not be closed while a thread waits in it."""
    assert isinstance(process.stdin, io.BufferedWriter)
    return process.stdin.raw


def pipe(stream: IO[bytes] | None) -> IO[bytes]:
    """Return a pipe from a process, all of which are there."""
    assert stream is not None
    return stream


def words_on_end(process: subprocess.Popen[bytes]) -> str:
    """Return how a process has ended, or that it has closed its pipe."""
    try:
        code = process.wait(GOODBYE_SECONDS)
    except subprocess.TimeoutExpired:
        return "closed its pipe to folio"
    if code >= 0:
        return f"ended its process (exit code {code})"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"ended its process ({name}{', perhaps for lack of memory' if name == 'SIGKILL' else ''})"


def end(process: subprocess.Popen[bytes]) -> None:
    """Let a worker end by itself if it is not busy, and kill what is left of it then."""
    with suppress(OSError):
        raw_input(process).close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GOODBYE_SECONDS)
    kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started."""
    family: list[psutil.Process] = []
    with suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with suppress(psutil.Error):
            member.kill()
    process.kill()
    process.wait()
