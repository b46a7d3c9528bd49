"""Routes of the page that write and start: texts, plans, and trainings. For the page alone, and off where others can reach it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from folio.files import CHECKSUMS
from folio.model.directory import CONFIG
from folio.runs.directory import RunDirectory
from folio.server.body import parse_object, read_body, read_json_object
from folio.server.errors import ApiError
from folio.server.page_fields import read, string, wrong
from folio.server.trainings import Trainings

TEXT_BYTES = 20_000_000
"""Most bytes of a text; larger ones are for the terminal."""
LEAST_MINUTES, MOST_MINUTES = 0.05, 10_000.0


def minutes(name: str, value: Any) -> float:
    """Return a time limit in minutes."""
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not LEAST_MINUTES <= value <= MOST_MINUTES
    ):
        raise wrong(name, value, f"a number from {LEAST_MINUTES:g} to {MOST_MINUTES:,.0f}")
    return float(value)


GIVEN = {"name": string, "text": string}
TRAINING = {"text": string, "minutes": minutes}
WHICH = {"name": string}


def routes() -> list[Route]:
    """Return the routes; `page_runs.routes` has them too."""
    return [
        Route("/page/api/trainings", all_trainings),
        Route("/page/api/texts", keep_text, methods=["POST"]),
        Route("/page/api/plan", plan, methods=["POST"]),
        Route("/page/api/trainings/start", start, methods=["POST"]),
        Route("/page/api/trainings/stop", stop, methods=["POST"]),
    ]


def folder_of(request: Request) -> Path | None:
    """Return the folder of runs that the page may write to: the first that is served and is no model itself."""
    for path in request.app.state.models.catalog.paths:
        is_model = any((path / name).exists() for name in (CONFIG, CHECKSUMS))
        if not is_model and not RunDirectory(path).exists and not path.is_file():
            folder: Path = path
            return folder
    return None


def forbidden(request: Request) -> str | None:
    """Return why the page may not write or start anything, or None if it may."""
    if not request.app.state.may_train:
        return "Others can reach this server, so its page starts no training: folio serve --allow-training lets it."
    if folder_of(request) is None:
        return "This server has no folder of runs to write to: start it as folio serve runs."
    return None


def trainings_of(request: Request) -> Trainings:
    """Return the trainings of the server. Raises ApiError (403) where the page may not write."""
    why, folder = forbidden(request), folder_of(request)
    if why is not None or folder is None:
        raise ApiError(403, why or "", code="training_not_allowed")
    state = request.app.state
    if not hasattr(state, "trainings"):
        state.trainings = Trainings(folder)
    trainings: Trainings = state.trainings
    return trainings


async def all_trainings(request: Request) -> Response:
    """Answer with the trainings that the page has started, and whether it may start one."""
    why = forbidden(request)
    if why is not None:
        return JSONResponse({"allowed": False, "why": why, "trainings": []})
    trainings = trainings_of(request)
    return JSONResponse({"allowed": True, "why": None, "trainings": await run_in_threadpool(told, trainings)})


def told(trainings: Trainings) -> list[dict[str, Any]]:
    """Return all that the page has started, with the runs that the training of each text has made."""
    texts = trainings.texts.all()
    return [
        {
            **trainings.processes.told(each),
            "is_text": each.name in texts,
            "runs": trainings.runs_of(each.name) if each.name in texts else [],
            "minutes": minutes_of(each.arguments),
        }
        for each in trainings.processes.all()
    ]


def minutes_of(arguments: Sequence[str]) -> float | None:
    """Return the time limit among the arguments of a command, or None."""
    at = arguments.index("--minutes") if "--minutes" in arguments else None
    return None if at is None else float(arguments[at + 1])


async def keep_text(request: Request) -> Response:
    """Keep a text. Body: name, that of its file, and text."""
    trainings = trainings_of(request)
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "The body must be of type application/json.", code="unsupported_media_type")
    body = await read_body(request, TEXT_BYTES)
    given = read(await run_in_threadpool(parse_object, body), GIVEN, ("name", "text"))
    kept = await run_in_threadpool(trainings.texts.keep, given["name"], given["text"])
    return JSONResponse({"name": kept.name, "characters": kept.characters, "distinct": kept.distinct})


async def plan(request: Request) -> Response:
    """Answer with what a training would be: its stages, and what is known of it in words. Body: text, maybe minutes."""
    trainings = trainings_of(request)
    body = read(await read_json_object(request), TRAINING, ("text",))
    return JSONResponse(await trainings.plan(body["text"], body.get("minutes")))


async def start(request: Request) -> Response:
    """Start a training, or go on with it. Body: text, maybe minutes."""
    trainings = trainings_of(request)
    body = read(await read_json_object(request), TRAINING, ("text",))
    await run_in_threadpool(trainings.start, body["text"], body.get("minutes"))
    return JSONResponse({"text": body["text"]})


async def stop(request: Request) -> Response:
    """Stop what the page has started, which saves. Body: name."""
    trainings = trainings_of(request)
    body = read(await read_json_object(request), WHICH, ("name",))
    await run_in_threadpool(trainings.processes.stop, body["name"])
    return JSONResponse({"name": body["name"]})
