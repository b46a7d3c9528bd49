"""The process that runs a reward function for `runs/worker.py: Worker`.

It reads a line of JSON from its standard input for each batch, and writes one to its standard output for each reward.
Before the function's file is imported, both are moved away from where a function could find them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import IO, Any

from folio.errors import UserError
from folio.rl.functions import CallError, LocalFunction, Row, in_a_line, load_function

GRACE_SECONDS = 5.0
"""After the limit, if nobody has ended this process until then, the system does."""


def main() -> None:
    """Load the function, and answer batches until there are no more."""
    requests, replies = take_pipes()
    owner = os.getpid()
    hello = json.loads(requests.readline())
    sys.path.insert(0, os.path.abspath(os.path.dirname(hello["function"])))  # as when Python runs the file
    try:
        with alarm(hello["import_seconds"]):
            function = load_function(hello["function"])
            local = LocalFunction(function)
        reply: dict[str, Any] = {"asks": asdict(local.asks)}
    except UserError as error:
        reply = {"mistake": str(error)}
    except BaseException as error:
        reply = {"failed": in_a_line(error)}
    leave_if_forked(owner)
    send(replies, reply)
    for line in requests:
        for row in json.loads(line):
            try:
                with alarm(hello["seconds"]):
                    (reward,) = local([Row(*row)])
                reply = {"reward": reward}
            except CallError as error:
                reply = {"failed": str(error)}
            except (
                BaseException
            ) as error:  # KeyboardInterrupt, raised by the function: nobody can press Ctrl-C here
                reply = {"failed": f"raised {in_a_line(error)}"}
            leave_if_forked(owner)
            send(replies, reply)


def take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Return the pipes for requests and replies, which become no one else's.

    What the function reads is empty from now on, and what it writes, on any level, goes to the standard error. A process
    that it forks loses the pipes: it must not answer too.
    """
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if hasattr(os, "register_at_fork"):
        for pipe in (requests, replies):
            os.register_at_fork(after_in_child=pipe.close)
    return requests, replies


def leave_if_forked(owner: int) -> None:
    """End a process that the function forked, and that has come back from it."""
    if os.getpid() != owner:
        os._exit(0)


def send(replies: IO[bytes], reply: dict[str, Any]) -> None:
    """Write a reply, after what the function has written. Ends this process where there is nobody to write to."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # they may be closed, or another object by now
            stream.flush()
    try:
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()
    except (OSError, ValueError):  # or the function has closed all files, which is seen at the other end
        os._exit(1)


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Let the system end this process if the block takes much longer than that.

    Whoever started this process ends it in time. The alarm is for when that one was killed itself, and it works while
    Python does not come to run anything, in a long call into C.
    """
    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
