"""Trainings of texts that the page was given: `folio run TEXT`, and what it would do."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from folio.errors import UserError
from folio.server.processes import Processes, command, reason
from folio.server.texts import Texts

PLAN_SECONDS = 300.0
"""Most seconds for a plan."""


class Trainings:
    """The trainings of a folder of runs."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.texts = Texts(runs)
        self.processes = Processes(runs)
        self._planning: asyncio.subprocess.Process | None = None

    async def plan(self, text: str, minutes: float | None) -> dict[str, Any]:
        """Return what `folio run TEXT --plan json` tells. A plan that is asked for meanwhile takes the place of this one.

        Raises UserError with its words where it refuses the text.
        """
        arguments = self._arguments(text, minutes)
        await self._forget_plan()
        process = self._planning = await asyncio.create_subprocess_exec(
            *command([*arguments, "--plan", "json"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.runs,
        )
        try:
            async with asyncio.timeout(PLAN_SECONDS):
                out, err = await process.communicate()
        except TimeoutError:
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
        """Begin the training of a text, or go on with it. Raises UserError while something else is trained."""
        self.processes.start(text, [*self._arguments(text, minutes), "--no-chat"])

    def runs_of(self, text: str) -> list[str]:
        """Return the names of what the training of a text has made so far."""
        found = (path.name for path in sorted(self.runs.glob(f"{text}*")))
        return [name for name in found if name == text or name.startswith(f"{text}-")]

    def _arguments(self, text: str, minutes: float | None) -> Sequence[str]:
        limit = [] if minutes is None else ["--minutes", f"{minutes:g}"]
        return ["run", str(self.texts.find(text).resolve()), "--runs", str(self.runs.resolve()), *limit]
