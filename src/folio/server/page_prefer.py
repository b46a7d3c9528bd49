"""Routes of the page on which a person judges answers."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from folio.config import flatten
from folio.data.known import REQUESTS, find_prompts, text_of_instructions
from folio.errors import FolioWarning, UserError
from folio.files import read_lines
from folio.runs.default_data import data_for
from folio.runs.directory import RunDirectory, run_around
from folio.runs.load import stage_of
from folio.server.body import read_json_object
from folio.server.errors import ApiError
from folio.server.judging import JUDGEMENTS, Answer, Judgements
from folio.server.page_fields import Reader, read, string, whole, wrong
from folio.server.page_runs import runs_of
from folio.server.page_training import folder_of, forbidden

LONGEST = 240
"""Characters of a prompt that one reads at a glance."""
MOST_PROMPTS = 300
IMPROVING = ("ppo", "grpo", "dpo")
"""Stages whose models are compared with those that they began with."""


def one_of(*values: str) -> Reader:
    """Return a reader of one of some strings."""

    def read_one(name: str, value: Any) -> str:
        if value not in values:
            raise wrong(name, value, f"one of {', '.join(values)}")
        return str(value)

    return read_one


def number(name: str, value: Any) -> float:
    """Return a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong(name, value, "a number")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """Return a boolean."""
    if not isinstance(value, bool):
        raise wrong(name, value, "true or false")
    return value


ANSWER = {"text": string, "model": string, "seed": whole, "temperature": number, "is_complete": flag}


def answer(name: str, value: Any) -> Answer:
    """Return an answer."""
    if not isinstance(value, dict):
        raise wrong(name, value, f"an object with {', '.join(ANSWER)}")
    return Answer(**read(value, ANSWER, tuple(ANSWER)))


WHICH = {"model": string}
JUDGEMENT = {
    **WHICH,
    "prompt": string,
    "left": answer,
    "right": answer,
    "judgement": one_of(*JUDGEMENTS),
    "repeats": whole,
}


def routes() -> list[Route]:
    """Return the routes, for `create_app`."""
    return [
        Route("/page/api/preferences", preferences),
        Route("/page/api/preferences/prompts", prompts),
        Route("/page/api/preferences/add", add, methods=["POST"]),
        Route("/page/api/preferences/undo", undo, methods=["POST"]),
    ]


def judgements_of(request: Request, model: str) -> Judgements:
    """Return the judgements of a model's answers. Raises ApiError where the page may not write (403) or there is no model (404)."""
    why, folder = forbidden(request), folder_of(request)
    if why is not None or folder is None:
        raise ApiError(403, why or "", code="training_not_allowed")
    request.app.state.models.find(model)
    return Judgements(folder, model)


def asked_model(request: Request) -> str:
    """Return the model that a query names."""
    model = request.query_params.get("model")
    if not model:
        raise ApiError(400, "model is missing.", "model")
    return model


async def preferences(request: Request) -> Response:
    """Answer with what was judged of a model, which pair comes again now, and what models came before or after it."""
    model = asked_model(request)
    judgements = judgements_of(request, model)
    return JSONResponse(await run_in_threadpool(told, request, model, judgements))


def told(request: Request, model: str, judgements: Judgements) -> dict[str, Any]:
    """Return what the page shows beside a pair."""
    repeat = judgements.to_repeat()
    return {
        **judgements.statistics(),
        "repeat": None if repeat is None else to_table(repeat),
        "compared": [judgements.wins(model, after) for after in improved_from(request, model)],
        "began_with": began_with(request, model),
        "run": str(request.app.state.models.find(model)[0].path),
        "folder": str(judgements.pairs_file.parent),
    }


def to_table(judged: Any) -> dict[str, Any]:
    """Return a pair for the page, without how it was judged."""
    return {
        "number": judged.number,
        "prompt": judged.prompt,
        "left": vars(judged.left),
        "right": vars(judged.right),
    }


def improved_from(request: Request, model: str) -> list[str]:
    """Return the models that reinforcement learning, or DPO, made of a model."""
    entries = request.app.state.models.entries()
    return [each.id for each in entries if each.kind == "chat" and began_with(request, each.id) == model]


def began_with(request: Request, model: str) -> str | None:
    """Return the model that reinforcement learning, or DPO, made this one of, or None."""
    entry, _ = request.app.state.models.find(model)
    run = RunDirectory(run_around(entry.directory) or entry.path)
    if not run.exists or stage_of(run.path) not in IMPROVING:
        return None
    return runs_of(request).id_of(flatten(run.read_info()["config"]).get("model"))


async def prompts(request: Request) -> Response:
    """Answer with prompts for a model: of the data that it learned from, or else those of its samples."""
    entry, _ = request.app.state.models.find(asked_model(request))
    state = request.app.state
    if not hasattr(state, "prompts"):
        state.prompts = {}
    if entry.path not in state.prompts:  # to make instructions of a text takes seconds
        state.prompts[entry.path] = await run_in_threadpool(prompts_for, entry.path)
    found, origin = state.prompts[entry.path]
    chosen = random.Random().sample(found, min(MOST_PROMPTS, len(found)))
    return JSONResponse({"prompts": chosen, "origin": origin})


def prompts_for(run: Path) -> tuple[list[str], str]:
    """Return prompts of one turn that a model learned from, and where they are from."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FolioWarning)
            data, validation = data_for(run)
            texts = map(text_of_instructions, data)  # of these, those whose answers may be better or worse
            asked_of = [
                f"{REQUESTS}:{text}" if text else each for text, each in zip(texts, data, strict=True)
            ]
            parts = find_prompts(asked_of, validation)
    except UserError:  # what it learned from is not there any more
        lines = read_lines(RunDirectory(run).samples_file)
        asked = [line["prompt"] for line in lines if isinstance(line.get("prompt"), str)]
        origin = "the samples of its run"
    else:
        asked = [each[-1]["content"] for each in parts.train if len(each) == 1]
        origin = parts.origin
    return [each for each in dict.fromkeys(asked) if each.strip() and len(each) <= LONGEST], origin


async def add(request: Request) -> Response:
    """Keep a judgement. Body: model, prompt, left, right, judgement; maybe repeats, the number of the one before."""
    required = ("model", "prompt", "left", "right", "judgement")
    body = read(await read_json_object(request), JUDGEMENT, required)
    model = body.pop("model")
    judgements = judgements_of(request, model)
    served = await request.app.state.models.get(model)
    # Whoever trains on the pairs reads no character that the tokenizer does not know.
    body["prompt"], _ = await served.worker.call(lambda: served.tokenizer.drop_unknown(body["prompt"]))
    if not body["prompt"]:
        raise ApiError(400, "The model knows none of the prompt's characters.", "prompt")
    await run_in_threadpool(lambda: judgements.add(**body))
    return JSONResponse(await run_in_threadpool(told, request, model, judgements))


async def undo(request: Request) -> Response:
    """Take back the last judgement, and answer with its pair. Body: model."""
    body = read(await read_json_object(request), WHICH, ("model",))
    judgements = judgements_of(request, body["model"])
    taken = await run_in_threadpool(judgements.undo)
    found = await run_in_threadpool(told, request, body["model"], judgements)
    return JSONResponse({**found, "undone": {**to_table(taken), "repeats": taken.repeats}})
