"""Streams over real sockets: clients who leave, read slowly, or never finish what they began."""

import asyncio
import json
import socket
import time
from contextlib import suppress

import pytest
from live_server import serving, until

from folio.server import process
from folio.server.errors import ApiError
from folio.server.streaming import error_event, while_connected

LONG = {"model": "long", "messages": [{"role": "user", "content": "abc"}], "seed": 1}
NO_SPECIAL = {str(id): -100 for id in range(7, 12)}


def post(body, path="/v1/chat/completions"):
    content = json.dumps(body)
    return (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\n\r\n{content}"
    ).encode()


@pytest.fixture
def narrow(models):
    """A server that writes two answers at a time."""
    with serving(models, rows=2, queue=4) as running:
        running.post("/v1/completions", {"model": "long", "prompt": "a", "max_tokens": 1})
        yield running


@pytest.mark.parametrize("stream", [True, False])
def test_clients_who_leave_free_their_places_wherever_they_are(narrow, stream):
    """Two are being written, four wait."""
    connections = [narrow.connect() for _ in range(6)]
    for seed, connection in enumerate(connections):
        connection.sendall(post({**LONG, "seed": seed, "stream": stream, "n": 1, "logit_bias": NO_SPECIAL}))
    until(lambda: sum(narrow.loads("long")) >= 3)
    for connection in connections:
        connection.close()
    until(lambda: narrow.loads("long") == (0, 0))


def test_one_who_leaves_does_not_change_anothers_answer(narrow):
    body = {**LONG, "max_tokens": 200, "logit_bias": NO_SPECIAL}
    alone = narrow.post("/v1/chat/completions", body).json()["choices"]
    leaving = [narrow.connect() for _ in range(3)]
    staying = narrow.connect()
    for connection in (leaving[0], staying, *leaving[1:]):
        connection.sendall(post({**(body if connection is staying else LONG), "stream": False}))
    until(lambda: sum(narrow.loads("long")) >= 2)
    for connection in leaving:
        connection.close()
    assert json.loads(receive_json(staying))["choices"] == alone
    staying.close()


def receive_json(connection):
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return body


def test_more_than_the_queue_holds_are_refused_with_a_time_to_wait(narrow):
    connections = [narrow.connect() for _ in range(6)]
    for connection in connections:
        connection.sendall(post({**LONG, "logit_bias": NO_SPECIAL, "stream": True}))
    refused = []

    def is_refused():
        refused.append(narrow.post("/v1/chat/completions", {**LONG, "n": 6}))
        return refused[-1].status_code == 429

    until(is_refused)
    assert refused[-1].json()["error"]["code"] == "rate_limit_exceeded"
    assert int(refused[-1].headers["retry-after"]) > 0
    for connection in connections:
        connection.close()
    until(lambda: narrow.loads("long") == (0, 0))


def test_a_client_who_reads_nothing_holds_up_nobody_and_is_given_up(models, monkeypatch):
    """What it does not read piles up until the connection is cut; its places are free long before."""
    monkeypatch.setattr(process, "STALLED_SECONDS", 0.3)
    with serving(models, rows=4, queue=128) as running:
        connection = running.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = {
            **LONG,
            "stream": True,
            "logprobs": True,
            "top_logprobs": 11,
            "n": 40,
            "logit_bias": NO_SPECIAL,
        }
        connection.sendall(post(body))
        until(lambda: sum(running.loads("long")) > 0)
        assert running.post("/v1/chat/completions", {**LONG, "max_tokens": 5}).status_code == 200
        until(lambda: running.loads("long") == (0, 0), 60)
        until(lambda: len(running.server.server_state.connections) <= 2)
        connection.close()


def test_connections_that_send_nothing_or_half_a_head_are_given_up(models, monkeypatch):
    monkeypatch.setattr(process, "HEAD_SECONDS", 0.3)
    with serving(models) as running:
        silent, half, after_one = (running.connect() for _ in range(3))
        half.sendall(b"GET /health HTTP/1.1\r\nhost: loc")
        after_one.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert json.loads(receive_json(after_one)) == {"status": "ok"}
        after_one.sendall(b"GET /health HTT")
        for connection in (silent, half, after_one):
            with suppress(ConnectionResetError):
                assert connection.recv(65536) == b""
            connection.close()
        assert running.get("/health").status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_that_takes_too_long_is_told_and_not_tried_again(models, stream):
    with serving(models, timeout=0.2) as running:
        body = {**LONG, "n": 100, "stream": stream, "logit_bias": NO_SPECIAL}
        answer = running.post("/v1/chat/completions", body)
        if stream:
            events = answer.text.split("\n\n")
            error = json.loads(events[-2].removeprefix("data: "))["error"]
            assert answer.status_code == 200
        else:
            error = answer.json()["error"]
            assert (answer.status_code, answer.headers["x-should-retry"]) == (408, "false")
        assert error["code"] == "request_timeout"
        until(lambda: running.loads("long") == (0, 0))


def test_work_is_canceled_when_the_client_leaves():
    async def test():
        seen = []

        async def work():
            try:
                await asyncio.sleep(60)
            finally:
                seen.append("canceled")

        messages = iter([{"type": "http.request"}, {"type": "http.disconnect"}])

        async def receive():
            await asyncio.sleep(0)
            return next(messages)

        start = time.monotonic()
        assert await while_connected(receive, work(), 30) is None
        assert seen == ["canceled"]
        assert time.monotonic() - start < 20

    asyncio.run(test())


def test_results_and_errors_of_work_arrive_and_time_ends_it():
    async def test():
        async def receive():
            await asyncio.sleep(60)

        async def result():
            return 5

        async def failure():
            raise ValueError("no")

        assert await while_connected(receive, result(), 30) == 5
        with pytest.raises(ValueError, match="no"):
            await while_connected(receive, failure(), 30)
        with pytest.raises(ApiError, match="within"):
            await while_connected(receive, asyncio.sleep(60), 0.01)

    asyncio.run(test())


def test_an_error_in_a_stream_is_what_the_official_client_raises():
    told = error_event(ApiError(500, 'with "quotes"\n\nand lines', code="x")).decode()
    assert told.startswith('data: {"error": {"message": ')
    assert told.count("\n") == 2


def test_while_nothing_is_written_a_comment_shows_that_the_server_lives(models, monkeypatch):
    monkeypatch.setattr("folio.server.writing.KEEP_ALIVE_SECONDS", 0.05)
    with serving(models, rows=1) as running:
        first = running.connect()
        first.sendall(post({**LONG, "n": 8, "stream": True, "logit_bias": NO_SPECIAL}))
        until(lambda: running.loads("long")[0] == 1)
        body = {"model": "long", "prompt": "a", "stream": True, "max_tokens": 4}
        waited = running.post("/v1/completions", body).text
        assert ": still waiting\n\n" in waited
        assert waited.endswith("data: [DONE]\n\n")
        first.close()
