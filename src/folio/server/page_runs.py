"""Routes of the page that show runs: all of them, and each as it trains."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from folio.runs.directory import RunDirectory
from folio.runs.listing import find_runs
from folio.server import page_training, run_view
from folio.server.catalog import Catalog, name_of
from folio.server.errors import ApiError
from folio.server.following import Metrics

MOST_RUNS = 500
"""Runs that are listed; the newest ones."""


class Runs:
    """The runs below the paths that are served, found anew for each request, with what was read of their metrics."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._metrics: dict[str, Metrics] = {}

    def all(self) -> dict[str, RunDirectory]:
        """Return the runs by id: that of their models (see `Catalog`), where they have any."""
        served = {entry.path: entry.id for entry in self._catalog.entries()}
        taken = set(served.values())
        found: dict[str, RunDirectory] = {}
        for root in self._catalog.paths:
            for run in find_runs(root):
                found[served.get(run.path) or _unused(name_of(root, run.path), {*taken, *found})] = run
        return found

    def find(self, id: str) -> RunDirectory:
        """Return the run with an id. Raises ApiError (404)."""
        run = self.all().get(id)
        if run is None:
            raise ApiError(404, f"There is no run {id[:80]!r} here.", "id", "run_not_found")
        return run

    def metrics(self, run: RunDirectory) -> Metrics:
        """Return what was read of a run's metrics; `update` reads on."""
        return self._metrics.setdefault(str(run.path), Metrics(run.metrics_file))

    def list(self) -> dict[str, Any]:
        """Return all runs, the last one to change first."""
        rows = [{"id": id, **run_view.summary(run, self.metrics(run))} for id, run in self.all().items()]
        rows.sort(key=lambda row: row.get("changed") or 0.0, reverse=True)
        return {"now": time.time(), "n_runs": len(rows), "runs": rows[:MOST_RUNS]}

    def detail(self, id: str, metrics: str, samples: str) -> dict[str, Any]:
        """Return a run, with its metrics and its samples after these cursors."""
        run = self.find(id)
        told = run_view.detail(run, self.metrics(run))
        return {
            "id": id,
            **told,
            "model_id": next((each.id for each in self._catalog.entries() if each.path == run.path), None),
            "from_id": self.id_of(told["from"]),
            "metrics": run_view.curves(run, metrics),
            "samples": run_view.samples(run, samples),
        }

    def id_of(self, path: object) -> str | None:
        """Return the id of the run that a setting names as a path, by its folder's name; None where there is none."""
        names = set(self.named(path)) if isinstance(path, str) else set()
        return next((id for id in self.all() if id in names), None)

    @staticmethod
    def named(path: str) -> Iterator[str]:
        """Yield the ids that a path may stand for: its last part, its last two, and so on."""
        parts = path.replace("\\", "/").strip("/").split("/")
        yield from ("/".join(parts[n:]) for n in range(len(parts)))


def _unused(id: str, taken: set[str]) -> str:
    candidates = (id if n == 1 else f"{id}-{n}" for n in count(1))
    return next(candidate for candidate in candidates if candidate not in taken)


def routes() -> list[Route]:
    """Return the routes, for `create_app`."""
    return [
        *page_training.routes(),
        Route("/page/api/runs", all_runs),
        Route("/page/api/runs/{id:path}", one_run),
        Route("/page/api/rl/{id:path}", rl_report),
    ]


def runs_of(request: Request) -> Runs:
    """Return the runs of the server, with what was read of them by earlier requests."""
    state = request.app.state
    if not hasattr(state, "runs"):
        state.runs = Runs(state.models.catalog)
    runs: Runs = state.runs
    return runs


async def all_runs(request: Request) -> Response:
    """Answer with all runs."""
    return JSONResponse(await run_in_threadpool(runs_of(request).list))


async def one_run(request: Request) -> Response:
    """Answer with a run. Query: metrics and samples, the cursors of the last answer; without them from the beginning."""
    query = request.query_params
    return JSONResponse(
        await run_in_threadpool(
            runs_of(request).detail,
            request.path_params["id"],
            query.get("metrics", ""),
            query.get("samples", ""),
        )
    )


async def rl_report(request: Request) -> Response:
    """Answer with what `folio rl-report` says of a run."""
    run = runs_of(request).find(request.path_params["id"])
    return JSONResponse(await run_in_threadpool(run_view.rl, run))
