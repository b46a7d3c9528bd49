"""Conversations: roles, contents and parts, and the place that is named where they are wrong."""

import pytest

from folio.server.errors import ApiError
from folio.server.messages import read_messages

USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("items", "read"),
    [
        ([USER], [("user", "hi")]),
        ([{"role": "developer", "content": "be"}, USER], [("system", "be"), ("user", "hi")]),
        ([{**USER, "name": "me"}], [("user", "hi")]),
        ([USER, {"role": "assistant", "content": None}], [("user", "hi"), ("assistant", "")]),
        ([USER, USER], [("user", "hi"), ("user", "hi")]),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
            [("user", "ab")],
        ),
        (
            [{"role": "assistant", "content": "x", "refusal": None, "tool_calls": [], "annotations": []}],
            [("assistant", "x")],
        ),
    ],
)
def test_what_clients_send(items, read):
    assert [(each["role"], each["content"]) for each in read_messages(items)] == read


@pytest.mark.parametrize(
    ("item", "place"),
    [
        ({"role": "tool", "content": "x", "tool_call_id": "1"}, ".role"),
        ({"role": "function", "content": "x"}, ".role"),
        ({"role": "critic", "content": "x"}, ".role"),
        ({"role": ["user"], "content": "x"}, ".role"),
        ({"content": "hello"}, ".role"),
        ({"role": "user"}, ".content"),
        ({"role": "user", "content": None}, ".content"),
        ({"role": "user", "content": 5}, ".content"),
        ({"role": "user", "content": {"text": "x"}}, ".content"),
        ({"role": "user", "content": ["x"]}, ".content[0]"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, ".content[0].text"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, ".content[0].type"),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "refusal"}]},
            ".content[1].type",
        ),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, ".tool_calls"),
        ({"role": "assistant", "content": "x", "refusal": "no"}, ".refusal"),
        ({"role": "user", "content": "x", "mood": "bad"}, ".mood"),
        ({"role": "system", "content": "late"}, ".role"),
        ("hello", ""),
        (None, ""),
    ],
)
def test_what_is_wrong_is_named_with_its_place(item, place):
    with pytest.raises(ApiError) as refusal:
        read_messages([USER, USER, USER, item])
    assert refusal.value.status == 400
    assert refusal.value.param == f"messages[3]{place}"
    assert refusal.value.param in refusal.value.message


def test_a_list_without_roles_is_refused_over_http(server):
    answer = server.post("/v1/chat/completions", {"model": "chat", "messages": [{"content": "abc"}]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages[0].role")
    empty = server.post("/v1/chat/completions", {"model": "chat", "messages": []})
    assert empty.json()["error"]["param"] == "messages"
    text = server.post("/v1/chat/completions", {"model": "chat", "messages": "hello"}).json()["error"]
    assert (text["param"], text["code"], text["type"]) == ("messages", None, "invalid_request_error")
