"""The process: its port, and an end that lets answers finish."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx2
import pytest
from live_server import serving, until

from folio.errors import UserError
from folio.server.process import address_of, bind

LONG = {"model": "long", "messages": [{"role": "user", "content": "abc"}], "logit_bias": {"10": -100}}
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX has them")


def test_a_port_that_is_taken_is_refused_in_a_line_and_without_one_the_next_is_taken():
    with bind("127.0.0.1", None) as first, bind("127.0.0.1", None) as second:
        port = first.getsockname()[1]
        assert second.getsockname()[1] > port >= 8000
        with pytest.raises(UserError, match=f"port {port} is taken"):
            bind("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused_in_a_line():
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(UserError, match=f"--host {host}: this machine does not have that address"):
            bind(host, None)


def test_the_address_to_open():
    with bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert address_of(listening, "127.0.0.1") == f"http://127.0.0.1:{port}"
        assert address_of(listening, "::1") == f"http://[::1]:{port}"
        assert address_of(listening, "0.0.0.0") == f"http://{socket.gethostname()}:{port}"


@pytest.fixture
def process(models):
    """`folio serve` in a process of its own, with its address."""
    command = [sys.executable, "-m", "folio", "serve", str(models), "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as started:
        line = started.stdout.readline()
        address = re.search(r"http://\S+", line)[0]
        httpx2.post(
            f"{address}/v1/completions", json={"model": "long", "prompt": "a", "max_tokens": 1}, timeout=60
        )
        yield started, address
        started.kill()


@pytest.mark.slow
def test_ctrl_c_lets_answers_finish_and_takes_no_more(process):
    started, address = process
    answers = []

    def ask():
        body = {**LONG, "stream": True, "n": 32}
        answers.append(httpx2.post(f"{address}/v1/chat/completions", json=body, timeout=60).text)

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: "num_requests_running" in httpx2.get(f"{address}/metrics").text and running(address) > 0)
    started.send_signal(signal.SIGINT)
    with pytest.raises(httpx2.HTTPError):
        until(lambda: httpx2.get(f"{address}/health") is None)
    asking.join(60)
    out, err = started.communicate(timeout=30)
    assert answers[0].endswith("data: [DONE]\n\n")
    assert answers[0].count('"finish_reason":"length"') == 32
    assert started.returncode == 0
    assert out.endswith("Stopped.\n")
    # The last request for /metrics may not be quite over.
    assert re.search("(1 request|2 requests) may finish; Ctrl-C again ends at once.", err)
    assert "Traceback" not in err


def running(address):
    return float(
        re.search(r'num_requests_running{model_name="long"} (\S+)', httpx2.get(f"{address}/metrics").text)[1]
    )


@pytest.mark.slow
def test_the_second_ctrl_c_ends_at_once(process):
    started, address = process
    with httpx2.stream(
        "POST", f"{address}/v1/chat/completions", json={**LONG, "stream": True, "n": 128}, timeout=60
    ) as stream:
        pieces = stream.iter_raw()
        next(pieces)
        started.send_signal(signal.SIGINT)
        assert "Stopping" in started.stderr.readline() + started.stderr.readline()
        began = time.monotonic()
        started.send_signal(signal.SIGINT)
        with pytest.raises(httpx2.HTTPError):
            list(pieces)
    _, err = started.communicate(timeout=30)
    assert time.monotonic() - began < 20
    assert started.returncode == 130
    assert "Traceback" not in err


@pytest.mark.slow
def test_an_idle_server_ends_on_ctrl_c_though_connections_are_open(process):
    started, address = process
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert connection.recv(1000)
        started.send_signal(signal.SIGINT)
        assert started.wait(20) == 0
    assert started.stdout.read().endswith("Stopped.\n")


def test_streams_of_the_page_hear_of_the_end(models):
    with serving(models) as running:
        assert not running.app.state.closing.is_set()
        running.server.stop()
        until(running.app.state.closing.is_set)


def test_requests_on_connections_that_are_kept_are_told_that_it_stops(models):
    with serving(models) as running:
        content = json.dumps({**LONG, "n": 32})
        request = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(content)}\r\n\r\n{content}"
        )
        running.post("/v1/completions", {"model": "long", "prompt": "a"})
        connection = running.connect()
        connection.sendall(request.encode())
        until(lambda: running.loads("long")[0] > 0)
        running.app.state.closing.set()
        assert running.get("/health").status_code == 503
        assert running.get("/health").json()["error"]["code"] == "stopping"
        connection.close()
