"""Errors are in OpenAI's form wherever they come from."""

import pytest
from starlette.exceptions import HTTPException

from folio.errors import UserError
from folio.server.errors import ApiError, as_api_error


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (ApiError(429, "busy", code="rate_limit_exceeded"), 429, "rate_limit_error", "rate_limit_exceeded"),
        (ApiError(401, "who?"), 401, "authentication_error", None),
        (ApiError(503, "later"), 503, "server_error", None),
        (UserError("a mistake"), 400, "invalid_request_error", None),
        (HTTPException(404), 404, "invalid_request_error", "not_found"),
        (HTTPException(405), 405, "invalid_request_error", "method_not_allowed"),
        (RuntimeError("secret"), 500, "server_error", "internal_error"),
    ],
)
def test_every_error_has_all_four_keys(error, status, kind, code):
    told = as_api_error(error)
    table = told.to_table()["error"]
    assert told.status == status
    assert (table["type"], table["param"], table["code"]) == (kind, None, code)
    assert table["message"]
    assert "secret" not in told.to_json()


def test_a_users_mistake_keeps_its_words():
    assert as_api_error(UserError("a mistake, here: do that.")).message == "a mistake, here: do that."


def test_words_of_others_cannot_break_the_json_of_a_stream():
    assert "\n" not in ApiError(400, 'a "quote"\nand a line').to_json()


def test_an_internal_fault_is_told_in_the_same_form_and_to_the_terminal(server, monkeypatch, caplog):
    monkeypatch.setattr(server.app.state.models, "find", lambda id: {}["secret"])
    answer = server.get("/v1/models/chat")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert answer.headers["x-request-id"]
    assert "secret" not in answer.text
    assert "KeyError: 'secret'" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models/chat", 405),
        ("PUT", "/v1/completions", 405),
        ("GET", "/page/../../etc/passwd", 404),
        ("GET", "/page/%2e%2e/%2e%2e/pyproject.toml", 404),
        ("GET", "/v1/models/../../etc/passwd", 404),
        ("GET", "/v1/models/nobody", 404),
        ("GET", "/page/api/nothing", 404),
    ],
)
def test_every_path_answers_in_the_same_form(server, method, path, status):
    with server.connect() as connection:
        connection.sendall(
            f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert answer.startswith(f"HTTP/1.1 {status}")
    assert '{"error": {"message": ' in answer
    assert "application/json" in answer
    assert "x-request-id: " in answer
