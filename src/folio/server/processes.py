"""Folio's own commands that the page starts: processes of their own, told by what they leave in a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from folio.errors import UserError
from folio.files import read_json, write_file

FOLDER = ".started"
"""Where records and logs lie, in the folder of the runs."""
STOP_SECONDS = 30.0
"""How long the server waits at its own end for processes to save."""
LOG_BYTES = 4000
"""Bytes of the end of a log that are told."""
NICE = 10
"""Priority of a process: one who talks with a model meanwhile goes first."""
INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended, with all saved."""
BEGIN = """
import signal
from folio.__main__ import main
for name in ("SIGINT", "SIGBREAK"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.default_int_handler)
main()
"""
"""`python -m folio`, which Ctrl-C reaches also where the server was started in the background, and on Windows Ctrl-Break."""

State = Literal["running", "stopping", "finished", "stopped", "failed"]


@dataclass(frozen=True, kw_only=True)
class Started:
    """A process as it is kept in a file.

    name: what it works on. arguments: of folio. started, ended: seconds since 1970. pid, born: the process, and when it
    began, which tells it from a later one of the same number. code: its exit code, None while it runs, or where it ended
    without anyone there to see it.
    """

    name: str
    arguments: Sequence[str]
    started: float
    pid: int
    born: float
    is_stopping: bool = False
    ended: float | None = None
    code: int | None = None

    @property
    def state(self) -> State:
        """Where it stands."""
        if self.ended is None:
            return "stopping" if self.is_stopping else "running"
        if self.code is None:
            return "stopped" if self.is_stopping else "failed"
        return {0: "finished", INTERRUPTED: "stopped"}.get(self.code, "failed")  # type: ignore[return-value]

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.ended is not None


class Processes:
    """The processes of a folder of runs. One runs at a time: two would share the machine and take twice as long each."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.folder = runs / FOLDER
        self._own: dict[str, subprocess.Popen[bytes]] = {}
        self._starting = threading.Lock()

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Start `folio ARGUMENTS`. name: a file name without an end. Raises UserError while another process runs."""
        with self._starting:  # or two pages that ask at once both find nothing running
            for each in self.all():
                if not each.is_over:
                    raise UserError(f"{each.name} is being trained: stop it first, or wait for it.")
            self._start(name, arguments)

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._file(name, "log").open("ab") as log:
            process = subprocess.Popen(
                command(arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.runs,
                env={**os.environ, "COLUMNS": "100", "PYTHONUNBUFFERED": "1"},
                **own_group(),
            )
        self._own[name] = process
        now = time.time()
        born = made_way(process.pid) or now
        self._write(Started(name=name, arguments=list(arguments), started=now, pid=process.pid, born=born))

    def stop(self, name: str) -> None:
        """Send Ctrl-C to a process: it saves and ends. A second time it ends at once. Raises UserError if it does not run."""
        started = self.find(name)
        if self._process(started) is None:
            raise UserError(f"{name} is not being trained.")
        interrupt(started.pid)
        self._write(replace(started, is_stopping=True))

    def all(self) -> list[Started]:
        """Return the processes, the last one to begin first."""
        found = []
        for path in self.folder.glob("*.json"):
            with suppress(UserError, TypeError):
                found.append(self._ended(Started(**read_json(path))))
        return sorted(found, key=lambda started: started.started, reverse=True)

    def find(self, name: str) -> Started:
        """Return the process of a name. Raises UserError where there is none."""
        found = next((each for each in self.all() if each.name == name), None)
        if found is None:
            raise UserError(f"{name[:80]!r} was not started here.")
        return found

    def told(self, started: Started) -> dict[str, Any]:
        """Return a process for the page, with the end of what its command says."""
        lines = tail(self._file(started.name, "log"))
        kept = ("name", "started", "ended", "code")
        return {
            **{key: value for key, value in asdict(started).items() if key in kept},
            "state": started.state,
            "log": lines,
            "problem": reason("\n".join(lines)) if started.state == "failed" else "",
        }

    def close(self) -> None:
        """Stop what this server started, and wait until it is saved."""
        running = {name: each for name, each in self._own.items() if each.poll() is None}
        for name in running:
            with suppress(UserError):
                self.stop(name)
        deadline = time.monotonic() + STOP_SECONDS
        for process in running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        self.all()  # notes which have ended

    def _ended(self, started: Started) -> Started:
        """Note the end of a process that has ended since."""
        if started.is_over or self._process(started) is not None:
            return started
        own = self._own.pop(started.name, None)
        ended = replace(started, ended=time.time(), code=None if own is None else own.poll())
        self._write(ended)
        return ended

    def _process(self, started: Started) -> psutil.Process | None:
        """Return a process, or None if it has ended."""
        own = self._own.get(started.name)
        is_own = own is not None and own.pid == started.pid
        if own is not None and is_own and own.poll() is not None:
            return None
        with suppress(psutil.Error):
            process = psutil.Process(started.pid)
            is_same = abs(process.create_time() - started.born) < 1.0
            # Its first thread may have ended before the others: then it looks like one that nobody has waited for.
            if is_own or (is_same and process.status() != psutil.STATUS_ZOMBIE):
                return process
        return None

    def _write(self, started: Started) -> None:
        write_file(self._file(started.name, "json"), (json.dumps(asdict(started)) + "\n").encode())

    def _file(self, name: str, suffix: str) -> Path:
        return self.folder / f"{name}.{suffix}"


def command(arguments: Sequence[str]) -> list[str]:
    """Return the command line that runs folio with these arguments."""
    return [sys.executable, "-c", BEGIN, *arguments]


def own_group() -> Mapping[str, Any]:
    """Return what makes a process the first of its group, so that Ctrl-C can be sent to all that it starts."""
    if os.name == "nt":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined, unused-ignore]
    return {"start_new_session": True}


def made_way(pid: int) -> float | None:
    """Let all others go before a process, and return when it began; None where it has ended already."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if os.name != "nt":
            process.nice(NICE)
        return process.create_time()
    return None


def interrupt(pid: int) -> None:
    """Send Ctrl-C to a process and all that it started; on Windows Ctrl-Break, as only that can be sent to a group."""
    with suppress(ProcessLookupError):
        if os.name == "nt":
            os.kill(pid, signal.CTRL_BREAK_EVENT)  # type: ignore[attr-defined, unused-ignore]
        else:
            os.killpg(pid, signal.SIGINT)


def tail(path: Path) -> list[str]:
    """Return the last lines of a file, none where there is no file."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - LOG_BYTES))
        is_whole = file.tell() == 0
        lines = file.read().decode("utf-8", "replace").splitlines()
        return lines if is_whole else lines[1:]
    return []


def reason(log: str) -> str:
    """Return the mistake that a command told, without its own name; "" where it told none."""
    told = [line.removeprefix("folio: ") for line in log.splitlines() if line.startswith("folio: ")]
    return told[-1] if told else ""
