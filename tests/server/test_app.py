"""The application as a whole: its paths, and a thousand requests of which a third leaves."""

import asyncio
import random

import httpx2
import openai
import psutil
import pytest
from live_server import serving, until
from starlette.routing import Route

from folio.server.app import create_app, page_routes
from folio.server.catalog import Catalog
from folio.server.config import ServerConfig

LETTERS = {"model": "long", "prompt": "abc", "logit_bias": {str(id): -100 for id in range(7, 12)}}


def test_models_are_listed_as_openai_does_with_what_folio_knows(client, server):
    listed = client.models.list().data
    assert [model.id for model in listed] == ["base", "chat", "control", "long", "silent"]
    assert {model.object for model in listed} == {"model"}
    chat = client.models.retrieve("chat")
    assert chat in listed
    assert (chat.kind, chat.context_length, chat.owned_by) == ("chat", 128, "folio")
    assert client.models.retrieve("deep/reward").kind == "reward"
    with pytest.raises(openai.NotFoundError) as refusal:
        client.models.retrieve("deep/nothing")
    assert refusal.value.code == "model_not_found"
    assert server.get("/v1/models").json()["object"] == "list"


def test_checkpoints_can_be_asked_for_by_id(finished):
    with serving(finished) as running, running.client() as client:
        (run,) = client.models.list().data
        first = client.models.retrieve(f"run@{run.checkpoints[0]}")
        assert first.id == f"run@{run.checkpoints[0]}"
        body = {"prompt": "the", "max_tokens": 20, "temperature": 0}
        texts = {client.completions.create(model=id, **body).choices[0].text for id in (first.id, run.id)}
        assert len(texts) == 2
        assert client.completions.create(model=first.id, **body).model == first.id


def test_every_path_is_there_with_and_without_v1(server):
    for path in ("/models", "/models/chat", "/health", "/metrics", "/openapi.json"):
        assert server.get(path).status_code == server.get(f"/v1{path}").status_code == 200
    for path in ("/chat/completions", "/completions", "/responses", "/tokenize", "/detokenize"):
        assert server.post(path, {}).status_code == server.post(f"/v1{path}", {}).status_code == 400


def test_the_routes_of_the_page_are_all_behind_its_guard(models):
    app = create_app(ServerConfig(), Catalog([models]))
    routes = [route for route in page_routes() if route.path.startswith("/page/api/")]
    assert len(routes) > 1
    assert {route.path for route in routes} <= {route.path for route in app.routes}
    with serving(models) as running:
        for route in routes:
            assert isinstance(route, Route)
            for method in sorted(route.methods - {"HEAD"}):
                path = running.address + route.path.replace("{", "").replace("}", "")
                answer = httpx2.request(method, path, headers={"sec-fetch-site": "cross-site"})
                assert answer.status_code == 403, route.path


def test_what_the_page_may_do():
    assert create_app(ServerConfig(), Catalog([])).state.may_train
    assert not create_app(ServerConfig(host="0.0.0.0"), Catalog([])).state.may_train
    assert create_app(ServerConfig(host="0.0.0.0", allow_training=True), Catalog([])).state.may_train


def test_requests_of_which_a_third_leaves_midway(models):
    """No error, no place lost, and the memory that was there before. benchmarks/serving.py asks 1,000 times."""
    with serving(models, rows=8) as running:
        running.post("/v1/completions", LETTERS)
        before = psutil.Process().memory_info().rss
        found = asyncio.run(ask_many(running.address, 150, 32))
        assert found == {"whole": 100, "left": 50}
        until(lambda: running.loads("long") == (0, 0))
        assert psutil.Process().memory_info().rss - before < 200e6


async def ask_many(address, n, at_once):
    """Ask n times; every third leaves at some moment. Return what became of them."""
    chance = random.Random(0)
    limit = asyncio.Semaphore(at_once)
    counts = {"whole": 0, "left": 0}
    async with httpx2.AsyncClient(base_url=address, timeout=120) as http:

        async def one(number):
            body = {**LETTERS, "stream": True, "max_tokens": 40, "seed": number}
            async with limit, http.stream("POST", "/v1/completions", json=body) as stream:
                assert stream.status_code == 200
                last = b""
                pieces = chance.randrange(5) if number % 3 == 0 else 10**9
                async for piece in stream.aiter_raw():
                    last = piece
                    pieces -= 1
                    if pieces < 0:
                        break
                if pieces < 0 or number % 3 == 0:
                    counts["left"] += 1
                else:
                    assert last.endswith(b"data: [DONE]\n\n")
                    counts["whole"] += 1

        await asyncio.gather(*(one(number) for number in range(n)))
    return counts


def test_a_fault_inside_is_an_error_in_the_same_form_and_harms_nobody(models, monkeypatch, caplog):
    def broken(*arguments):
        raise RuntimeError("a secret place")

    with serving(models) as running:
        monkeypatch.setattr("folio.server.chat.read_messages", broken)
        body = {"model": "chat", "messages": [{"role": "user", "content": "a"}]}
        answer = running.post("/v1/chat/completions", body)
        assert answer.status_code == 500
        assert answer.json()["error"]["type"] == "server_error"
        assert "secret" not in answer.text
        assert running.get("/health").status_code == 200
    assert "a secret place" in caplog.text
