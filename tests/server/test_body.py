"""Bodies that are no plain JSON object, and what is said of them."""

import json
from http.client import HTTPConnection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folio.server.body import kind_of, parse_object
from folio.server.errors import ApiError


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "Expecting value"),
        (b"[1]", "must be an object, not an array"),
        (b"null", "must be an object, not null"),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b'{"a": -Infinity}', "-Infinity is no JSON"),
        (b'{"a": 1e999}', "beyond all numbers"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"a": 1, "a": 2}', "'a' twice"),
        (b'{"b": {"a": 1, "a": 2}}', "'a' twice"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a": "\\ud800"}', "a has half a character"),
        (b'{"a": [{"b": "x\\uDC00y"}]}', "a[0].b has half a character"),
        (b'{"\\ud800": 1}', "half a character"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'\xef\xbb\xbf{"a": 1}', "BOM"),
        (b'{"a": 1} {"b": 2}', "Extra data"),
        (b"{'a': 1}", "property name"),
        (b'{"a": "line\nbreak"}', "control character"),
    ],
)
def test_what_is_no_plain_json_is_refused_in_words(body, word):
    with pytest.raises(ApiError) as refusal:
        parse_object(body)
    assert refusal.value.status == 400
    assert word in refusal.value.message
    json.dumps(refusal.value.to_table()).encode()


def test_pairs_of_surrogates_are_one_character():
    assert parse_object(b'{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}


numbers = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(st.none() | st.booleans() | numbers | texts, st.lists, max_leaves=20)


@given(st.dictionaries(texts, values), st.booleans())
def test_all_other_json_is_read_as_json_reads_it(table, ensure_ascii):
    assert parse_object(json.dumps(table, ensure_ascii=ensure_ascii).encode()) == table


def test_values_have_the_names_of_json():
    assert [kind_of(value) for value in (True, 1, 1.5, "", [], {}, None)] == [
        "a boolean", "an integer", "a number", "a string", "an array", "an object", "null",
    ]  # fmt: skip


def test_bodies_are_json_by_their_type_within_limits(server):
    with server.http() as http:
        text = http.post("/v1/completions", content=b"{}", headers={"content-type": "text/plain"})
        form = http.post("/v1/completions", data={"prompt": "a"})
        none = http.post("/v1/completions", content=b"{}")
    assert [each.status_code for each in (text, form, none)] == [415, 415, 415]


def test_a_client_who_asks_first_is_told_that_the_body_is_too_large(server):
    with server.connect() as connection:
        head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}expect: 100-continue\r\ncontent-length: 1000001\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    assert answer.startswith("HTTP/1.1 413")
    assert "request_too_large" in answer


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_client_who_sends_far_too_much_reads_why_it_is_refused(server, connection, is_chunked):
    """One that sends all before it reads, as most do. In place of the answer it saw a connection that was reset."""
    host, port = server.address.removeprefix("http://").split(":")
    http = HTTPConnection(host, int(port), timeout=20)
    body = iter([b"x" * 1_000_000] * 20) if is_chunked else b"x" * 20_000_000
    headers = {"content-type": "application/json", "connection": connection}
    http.request("POST", "/v1/completions", body=body, headers=headers, encode_chunked=is_chunked)
    answer = http.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["error"]["code"] == "request_too_large"
    http.close()


def test_a_body_that_does_not_come_is_not_waited_for(server, monkeypatch):
    monkeypatch.setattr("folio.server.body.READ_SECONDS", 0.2)
    with server.connect() as connection:
        head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: 100\r\n\r\n{{".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    assert answer.startswith("HTTP/1.1 408")
    assert "request_timeout" in answer


def test_a_client_who_leaves_within_its_body_harms_nobody(server):
    with server.connect() as connection:
        head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: 100\r\n\r\n{{".encode())
    with server.http() as http:
        assert http.get("/health").status_code == 200
