"""Trainings that the page starts: folio's own command, `folio run TEXT`, as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from folio.errors import UserError
from folio.files import read_json, write_file
from folio.server.texts import Texts

PLAN_SECONDS = 300.0
"""Most seconds for a plan."""
STOP_SECONDS = 30.0
"""How long the server waits at its own end for trainings to save."""
LOG_BYTES = 4000
"""Bytes of the end of a log that are told."""
NICE = 10
"""Priority of a training: one who talks with a model meanwhile goes first."""
START = """
import signal
from folio.__main__ import main
for name in ("SIGINT", "SIGBREAK"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.default_int_handler)
main()
"""
"""`python -m folio`, which Ctrl-C reaches also where the server was started in the background, and on Windows Ctrl-Break."""
INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended, with all saved."""

State = Literal["running", "stopping", "finished", "stopped", "failed"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training as it is kept beside its text.

    minutes: the time for all stages, None for as long as they take. started: seconds since 1970. pid, born: the process,
    and when it began, which tells it from a later one of the same number. code: its exit code, None while it runs, or
    where it ended without anyone there to see it.
    """

    text: str
    minutes: float | None
    started: float
    pid: int
    born: float
    is_stopping: bool = False
    ended: float | None = None
    code: int | None = None


class Trainings:
    """The trainings of a folder of runs. One runs at a time: two would share the machine and take twice as long each."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.texts = Texts(runs)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._planning: asyncio.subprocess.Process | None = None

    async def plan(self, text: str, minutes: float | None) -> dict[str, Any]:
        """Return what `folio run TEXT --plan json` tells. A plan that is asked for meanwhile takes the place of this one.

        Raises UserError with its words where it refuses the text.
        """
        await self._forget_plan()
        process = self._planning = await asyncio.create_subprocess_exec(
            *self._command(text, minutes, "--plan", "json"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.runs,
        )
        try:
            async with asyncio.timeout(PLAN_SECONDS):
                out, err = await process.communicate()
        except (TimeoutError, asyncio.CancelledError):
            await self._forget_plan()
            raise UserError(
                "making the plan took too long: try again when the machine is less busy."
            ) from None
        if process.returncode:
            raise UserError(reason(err.decode(errors="replace")) or "another plan was asked for.")
        plan: dict[str, Any] = json.loads(out)
        return plan

    async def _forget_plan(self) -> None:
        if self._planning is not None and self._planning.returncode is None:
            with suppress(ProcessLookupError):
                self._planning.kill()
            await self._planning.wait()

    def start(self, text: str, minutes: float | None) -> None:
        """Begin the training of a text, or go on with it. Raises UserError while another one runs."""
        for training in self.all():
            if self.state(training) in ("running", "stopping"):
                raise UserError(f"{training.text} is being trained: stop it first, or wait for it.")
        path = self.texts.find(text)
        with self._file(text, "log").open("ab") as log:
            process = subprocess.Popen(
                self._command(text, minutes, "--no-chat"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=path.parent,
                env={**os.environ, "COLUMNS": "100", "PYTHONUNBUFFERED": "1"},
                **own_group(),
            )
        self._processes[text] = process
        started = time.time()
        self._write(
            Training(
                text=text,
                minutes=minutes,
                started=started,
                pid=process.pid,
                born=made_way(process.pid) or started,
            )
        )

    def stop(self, text: str) -> None:
        """Send Ctrl-C to a training: it saves and ends. A second time it ends at once. Raises UserError if it does not run."""
        training = self.find(text)
        if self._process(training) is None:
            raise UserError(f"{text} is not being trained.")
        interrupt(training.pid)
        self._write(replace(training, is_stopping=True))

    def all(self) -> list[Training]:
        """Return the trainings, the last one to begin first."""
        found = []
        for path in self.texts.folder.glob("*.json"):
            with suppress(UserError, TypeError):
                found.append(self._ended(Training(**read_json(path))))
        return sorted(found, key=lambda training: training.started, reverse=True)

    def find(self, text: str) -> Training:
        """Return the training of a text. Raises UserError where there is none."""
        found = next((each for each in self.all() if each.text == text), None)
        if found is None:
            raise UserError(f"{text[:80]!r} was not trained here.")
        return found

    def state(self, training: Training) -> State:
        """Return where a training stands."""
        if training.ended is None:
            return "stopping" if training.is_stopping else "running"
        if training.code is None:
            return "stopped" if training.is_stopping else "failed"
        return {0: "finished", INTERRUPTED: "stopped"}.get(training.code, "failed")  # type: ignore[return-value]

    def told(self, training: Training) -> dict[str, Any]:
        """Return a training for the page, with the end of what its command says."""
        lines = tail(self._file(training.text, "log"))
        state = self.state(training)
        return {
            **{key: value for key, value in asdict(training).items() if key not in ("pid", "born")},
            "state": state,
            "log": lines,
            "stage": next((line for line in reversed(lines) if " of " in line and "──" in line), ""),
            "problem": reason("\n".join(lines)) if state == "failed" else "",
            "outputs": [
                path.name
                for path in sorted(self.runs.glob(f"{training.text}*"))
                if path.name == training.text or path.name.startswith(f"{training.text}-")
            ],
        }

    def close(self) -> None:
        """Stop what this server started, and wait until it is saved."""
        running = {name: each for name, each in self._processes.items() if each.poll() is None}
        for name in running:
            with suppress(UserError):
                self.stop(name)
        deadline = time.monotonic() + STOP_SECONDS
        for process in running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        for training in self.all():
            self._ended(training)

    def _command(self, text: str, minutes: float | None, *more: str) -> Sequence[str]:
        limit = [] if minutes is None else ["--minutes", f"{minutes:g}"]
        path = self.texts.find(text).resolve()
        runs = ["--runs", str(self.runs.resolve())]
        return [sys.executable, "-c", START, "run", str(path), *runs, *limit, *more]

    def _ended(self, training: Training) -> Training:
        """Note the end of a training that has ended since."""
        if training.ended is not None or self._process(training) is not None:
            return training
        own = self._processes.pop(training.text, None)
        ended = replace(training, ended=time.time(), code=None if own is None else own.poll())
        self._write(ended)
        return ended

    def _process(self, training: Training) -> psutil.Process | None:
        """Return the process of a training, or None if it has ended."""
        own = self._processes.get(training.text)
        if own is not None and own.pid == training.pid and own.poll() is not None:
            return None
        with suppress(psutil.Error):
            process = psutil.Process(training.pid)
            is_same = abs(process.create_time() - training.born) < 1.0
            if is_same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _write(self, training: Training) -> None:
        write_file(self._file(training.text, "json"), (json.dumps(asdict(training)) + "\n").encode())

    def _file(self, text: str, suffix: str) -> Path:
        return self.texts.find(text).with_suffix(f".{suffix}")


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
        whole = file.tell() == 0
        lines = file.read().decode("utf-8", "replace").splitlines()
        return lines if whole else lines[1:]
    return []


def reason(log: str) -> str:
    """Return the mistake that a command told, without its own name; "" where it told none."""
    told = [line.removeprefix("folio: ") for line in log.splitlines() if line.startswith("folio: ")]
    return told[-1] if told else ""
