"""Who is let in: by host, origin and key."""

import httpx2
import openai
import pytest
from live_server import serving
from starlette.datastructures import Headers

from folio.server.security import cookie_for, host_name, is_own_origin, new_key

ASK = {"model": "silent", "messages": [{"role": "user", "content": "abc"}]}
PROMPT = {"model": "silent", "text": "abc"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("LOCALHOST", 200),
        ("localhost.", 200), ("evil.com", 403), ("", 403), ("localhost.evil.com", 403), ("192.168.0.1", 403),
        ("evil.com:8000", 403), ("127.0.0.1.nip.io", 403), ("[::", 403), ("a@localhost.evil", 403),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/health", "/", "/v1/models", "/page/api/key"])
def test_only_this_machines_names_are_answered(server, path, host, status):
    answer = server.get(path, headers={"host": host})
    assert answer.status_code == (404 if path == "/page/api/key" and status == 200 else status)
    if status == 403:
        assert answer.json()["error"]["code"] == "host_not_allowed"


@pytest.mark.parametrize(
    "origin", ["https://evil.com", "null", "http://localhost:1", "file://", "http://", "http://["]
)
def test_pages_of_other_origins_are_refused_everywhere(server, origin):
    for answer in (
        server.get("/v1/models", headers={"origin": origin}),
        server.post("/v1/chat/completions", ASK, headers={"origin": origin}),
        server.post("/page/api/prompt", PROMPT, headers={"origin": origin}),
    ):
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "origin_not_allowed"
        assert "access-control-allow-origin" not in answer.headers


def test_the_page_itself_is_let_in(server):
    headers = {"origin": server.address, "sec-fetch-site": "same-origin"}
    assert server.post("/page/api/prompt", PROMPT, headers=headers).status_code == 200
    assert server.post("/v1/chat/completions", ASK, headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "unheard-of"])
def test_the_paths_of_the_page_are_for_the_page(server, site):
    assert server.post("/page/api/prompt", PROMPT, headers={"sec-fetch-site": site}).status_code == 403


def test_nothing_allows_other_origins_to_read_by_default(server):
    asked = {"origin": "https://evil.com", "access-control-request-method": "POST"}
    answer = httpx2.options(f"{server.address}/v1/chat/completions", headers=asked)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_allowed_origin_may_ask_first_and_read(models):
    origin = "https://chat.example.org"
    with serving(models, allow_origin=(origin,), api_key="secret") as running:
        asked = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization, content-type",
        }
        before = httpx2.options(f"{running.address}/v1/chat/completions", headers=asked)
        after = running.post(
            "/v1/chat/completions", ASK, headers={"origin": origin, "authorization": "Bearer secret"}
        )
        refused = running.post("/v1/chat/completions", ASK, headers={"origin": origin})
        page = running.post(
            "/page/api/prompt", PROMPT, headers={"origin": origin, "authorization": "Bearer secret"}
        )
    assert before.status_code == 204
    assert before.headers["access-control-allow-headers"] == "authorization, content-type"
    assert [after.status_code, refused.status_code, page.status_code] == [200, 401, 403]
    for answer in (before, after, refused):
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["vary"] == "Origin"


@pytest.fixture(scope="module")
def locked(models):
    with serving(models, api_key="sécret") as running:
        yield running


KEY = "Bearer sécret".encode()


def test_with_a_key_all_but_the_files_of_the_page_and_health_need_it(locked):
    public = ["/", "/page/app.js", "/health", "/v1/health"]
    private = ["/v1/models", "/models", "/metrics", "/openapi.json", "/nowhere", "/page/api/runs"]
    assert {locked.get(path).status_code for path in public} == {200}
    assert {locked.get(path).status_code for path in private} == {401}
    told = locked.get("/metrics")
    assert told.json()["error"]["code"] == "invalid_api_key"
    assert told.headers["www-authenticate"] == "Bearer"
    assert locked.get("/metrics", headers={"authorization": KEY}).status_code == 200


@pytest.mark.parametrize(
    "given",
    [b"", b"Bearer", b"Bearer secret", b"Basic s\xc3\xa9cret", b"s\xc3\xa9cret", b"Bearer \xff"],
)
def test_wrong_keys(locked, given):
    assert locked.get("/v1/models", headers={"authorization": given}).status_code == 401
    assert locked.get("/v1/models", params={"key": "sécret", "api_key": "sécret"}).status_code == 401


def test_the_official_client_and_its_words_for_a_wrong_key(models):
    with serving(models, api_key="secret") as running:
        with running.client(api_key="secret") as client:
            assert client.models.list().data
        with running.client(api_key="wrong") as client, pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_the_page_asks_once_and_gets_a_cookie_that_scripts_cannot_read(locked):
    wrong = locked.post("/page/api/key", {"key": "guess"})
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    assert locked.post("/page/api/key", {"key": ["sécret"]}).status_code == 401
    answer = locked.post("/page/api/key", {"key": "sécret"})
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 204
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "cret" not in cookie
    held = {"cookie": cookie.split(";")[0]}
    own = {**held, "origin": locked.address, "sec-fetch-site": "same-origin"}
    assert locked.get("/v1/models", headers=own).status_code == 200
    assert locked.post("/v1/chat/completions", ASK, headers=own).status_code == 200
    other_port = {**held, "sec-fetch-site": "same-site"}
    assert locked.get("/v1/models", headers=other_port).status_code == 403
    forged = {"cookie": f"folio_key={cookie_for('another')}"}
    assert locked.get("/v1/models", headers=forged).status_code == 401


def test_without_a_key_any_key_will_do(server):
    for headers in ({}, {"authorization": "Bearer none"}, {"authorization": "Bearer sk-123"}):
        assert server.get("/v1/models", headers=headers).status_code == 200
    assert server.post("/page/api/key", {"key": "any"}).status_code == 204


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("LocalHost:80", "localhost"),
        ("[::1]:80", "::1"),
        ("a.b.:1", "a.b"),
        ("", ""),
        ("[::", ""),
        ("u@h", "h"),
    ],
)
def test_the_name_in_a_host_header(host, name):
    assert host_name(host) == name


def test_an_origin_is_compared_with_its_port():
    headers = Headers({"host": "localhost:8000"})
    assert is_own_origin("http://localhost:8000", headers)
    assert not is_own_origin("http://localhost:8001", headers)
    assert not is_own_origin("http://localhost", headers)


def test_keys_are_long_and_new():
    assert len({new_key() for _ in range(10)}) == 10
    assert len(new_key()) > 30


def test_no_response_may_be_sniffed_or_framed(server):
    for path in ("/", "/health", "/nowhere"):
        headers = server.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
    policy = server.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
