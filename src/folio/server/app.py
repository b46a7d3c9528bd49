"""The application: every path of the server, and what stands before them.

The page has routes of its own: each of PAGE_MODULES offers a function `routes() -> list[Route]`, with whole paths under
/page/api/; they are behind `SamePage`, so that a handler need not check where a
request comes from. A handler reads its JSON with `body.read_json_object(request)`, raises `ApiError` or `UserError`, and finds in
`request.app.state`:

    models      `Models`: entries(), await get(id, checkpoint), catalog.paths
    config      the `ServerConfig`
    may_train   whether the page may write files and start runs
    closing     an asyncio.Event that is set when the server stops: streams of the page end then
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from folio.server import page_inspect, page_learn, page_prefer, page_runs
from folio.server.catalog import Catalog, Entry
from folio.server.chat import create_chat
from folio.server.completions import create_completion
from folio.server.config import ServerConfig
from folio.server.errors import respond
from folio.server.metrics import Metrics
from folio.server.models import Models
from folio.server.openapi import describe_api
from folio.server.responses import create_response
from folio.server.security import Gate, SamePage, take_key
from folio.server.static import PAGE, Page, page_file
from folio.server.tokens import detokenize, tokenize

PAGE_MODULES = (page_inspect, page_runs, page_prefer, page_learn)


def create_app(config: ServerConfig, catalog: Catalog) -> Starlette:
    """Return the application that serves the models of a catalog."""
    closing = asyncio.Event()
    app = Starlette(
        routes=[*api_routes(), *page_routes()],
        middleware=[Middleware(Gate, config=config, is_closing=closing.is_set)],
        exception_handlers={HTTPException: respond},  # the others come to the gate
        lifespan=lifespan,
    )
    app.state.config = config
    app.state.models = Models(catalog, config)
    app.state.metrics = Metrics()
    app.state.page = Page(PAGE)
    app.state.may_train = config.is_local or config.allow_training
    app.state.closing = closing
    return app


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """End the threads of the models with the server, and what the page has started, which saves."""
    yield
    if trainings := getattr(app.state, "trainings", None):
        await asyncio.to_thread(trainings.processes.close)
    await app.state.models.close()


def api_routes() -> list[Route]:
    """Return the paths of the API, each with and without /v1."""
    paths = {
        "/chat/completions": create_chat,
        "/completions": create_completion,
        "/responses": create_response,
        "/tokenize": tokenize,
        "/detokenize": detokenize,
    }
    views = {
        "/models": list_models,
        "/models/{id:path}": retrieve_model,
        "/health": health,
        "/metrics": metrics,
        "/openapi.json": openapi,
    }
    return [
        Route(f"{prefix}{path}", handler, methods=[method])
        for prefix in ("/v1", "")
        for method, table in (("POST", paths), ("GET", views))
        for path, handler in table.items()
    ]


def page_routes() -> list[Route]:
    """Return the paths of the page."""
    routes = [Route("/page/api/key", take_key, methods=["POST"])]
    for module in PAGE_MODULES:
        routes += module.routes()
    guarded = [
        Route(
            route.path, route.endpoint, methods=list(route.methods or ()), middleware=[Middleware(SamePage)]
        )
        for route in routes
    ]
    return [*guarded, Route("/", page_file), Route("/page/{name:path}", page_file)]


async def health(request: Request) -> Response:
    """Say that the server is there."""
    return JSONResponse({"status": "ok"})


async def metrics(request: Request) -> Response:
    """Tell counters and times, for Prometheus."""
    state = request.app.state
    loads = [
        (served.name, served.worker.n_running, served.worker.n_waiting) for served in state.models.loaded()
    ]
    return Response(state.metrics.exposition(loads), media_type=state.metrics.content_type)


async def openapi(request: Request) -> Response:
    """Describe the API."""
    return JSONResponse(describe_api())


async def list_models(request: Request) -> Response:
    """List the models that can write."""
    offered = [to_table(entry) for entry in request.app.state.models.entries() if entry.kind != "reward"]
    return JSONResponse({"object": "list", "data": offered})


async def retrieve_model(request: Request) -> Response:
    """Describe one model."""
    models: Models = request.app.state.models
    entry, step = models.find(request.path_params["id"])
    table = to_table(entry)
    return JSONResponse(table if step is None else table | {"id": f"{entry.id}@{step}"})


def to_table(entry: Entry) -> dict[str, object]:
    """Return a model in OpenAI's form, with what folio knows besides."""
    return {
        "id": entry.id,
        "object": "model",
        "created": entry.created,
        "owned_by": "folio",
        "kind": entry.kind,
        "context_length": entry.config.block_size,
        "parameters": entry.parameters,
        "checkpoints": list(entry.checkpoints),
    }
