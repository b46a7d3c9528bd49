"""Each field of each endpoint: its type, its range, and the word it is refused with."""

import pytest

from folio.server import chat, completions, responses, tokens
from folio.server.errors import ApiError
from folio.server.fields import Field, accepted, check, flag, number, read_fields, refused, whole

FIELDS = {
    "share": number("a share", 0, 1),
    "steps": whole("steps", 1, 10),
    "loud": flag("loud"),
    "name": Field(schema={"type": "string", "maxLength": 5, "minLength": 1}, use="a name", is_required=True),
    "user": accepted("string"),
    "tools": refused("there are none", []),
    "rows": Field(
        schema={
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 3},
            ]
        },
        use="rows",
    ),
    "table": Field(
        schema={
            "type": "object",
            "properties": {"on": {"type": "boolean"}},
            "maxProperties": 1,
            "additionalProperties": False,
        },
        use="a table",
    ),
}


def test_values_are_taken_null_is_the_default_and_a_whole_number_may_have_a_point():
    body = {"name": "a", "steps": 5.0, "share": None, "tools": [], "user": "me", "rows": [1, 2.0]}
    given = read_fields(body, FIELDS).given
    assert given == {"name": "a", "steps": 5, "user": "me", "rows": [1, 2]}
    assert type(given["steps"]) is int


@pytest.mark.parametrize(
    ("body", "param", "word"),
    [
        ({}, "name", "missing"),
        ({"name": None}, "name", "missing"),
        ({"name": 5}, "name", "a string, not an integer"),
        ({"name": "abcdef"}, "name", "6 characters"),
        ({"name": ""}, "name", "empty"),
        ({"share": True}, "share", "a number, not a boolean"),
        ({"share": "0.5"}, "share", "a number, not a string"),
        ({"share": 1.5}, "share", "between 0 and 1"),
        ({"steps": True}, "steps", "a whole number, not a boolean"),
        ({"steps": 1.5}, "steps", "a whole number, not a number"),
        ({"steps": 0}, "steps", "between 1 and 10"),
        ({"loud": 1}, "loud", "true or false, not an integer"),
        ({"rows": [1, 2, 3, 4]}, "rows", "4 items"),
        ({"rows": ["a"]}, "rows", "a string or an array of integers"),
        ({"rows": [1, "a"]}, "rows[1]", "a whole number"),
        ({"rows": [1, True]}, "rows[1]", "a whole number"),
        ({"rows": [1, 0]}, "rows[1]", "at least 1"),
        ({"table": {"on": 1}}, "table.on", "true or false"),
        ({"table": {"off": True}}, "table.off", "no field"),
        ({"table": {"off": True, "on": True}}, "table", "2 entries"),
        ({"tools": [{}]}, "tools", "there are none"),
        ({"tools": False}, "tools", "there are none"),
        ({"user": 1}, "user", "a string"),
        ({"shares": 1}, "shares", "Did you mean share?"),
        ({"zzz": None}, "zzz", "no field"),
    ],
)
def test_what_is_wrong_is_named(body, param, word):
    with pytest.raises(ApiError) as refusal:
        read_fields({"name": "a", **body} if body.keys() - {"name"} else body, FIELDS)
    assert refusal.value.status == 400
    assert refusal.value.param == param
    assert word in refusal.value.message


def test_a_number_above_a_bound():
    schema = {"type": "number", "exclusiveMinimum": 0}
    assert check(0.1, schema, "p") == 0.1
    with pytest.raises(ApiError, match="above 0"):
        check(0, schema, "p")


ENDPOINTS = {
    "/v1/chat/completions": (
        chat.FIELDS,
        {"model": "silent", "messages": [{"role": "user", "content": "a"}]},
    ),
    "/v1/completions": (completions.FIELDS, {"model": "silent", "prompt": "a", "max_tokens": 1}),
    "/v1/responses": (responses.FIELDS, {"model": "silent", "input": "a"}),
    "/tokenize": (tokens.TOKENIZE, {"model": "silent", "prompt": "a"}),
    "/detokenize": (tokens.DETOKENIZE, {"model": "silent", "tokens": [1]}),
}
STATUSES = [
    (path, name, field.status)
    for path, (fields, _) in ENDPOINTS.items()
    for name, field in fields.items()
    if name not in ("stream", "messages", "prompt", "input")
]


@pytest.mark.parametrize(("path", "name", "status"), STATUSES)
def test_each_field_may_be_null_and_is_refused_by_name_for_a_wrong_value(server, path, name, status):
    fields, body = ENDPOINTS[path]
    with server.http() as http:
        neutral = http.post(path, json={**body, name: None})
        wrong = http.post(path, json={**body, name: {"un": ["expected"]}})
    if not fields[name].is_required and name != "model":
        assert neutral.status_code == 200, neutral.text
    if fields[name].schema.get("type") == "object" and status == "accepted":
        assert wrong.status_code == 200
        return
    assert wrong.status_code == 400, wrong.text
    assert wrong.json()["error"]["param"].split(".")[0] == name
    if status == "refused":
        assert wrong.json()["error"]["code"] == "unsupported_parameter"


@pytest.mark.parametrize("path", ENDPOINTS)
def test_an_unknown_field_is_refused_by_name(server, path):
    with server.http() as http:
        told = http.post(path, json={**ENDPOINTS[path][1], "temprature": 1}).json()["error"]
    assert (told["param"], told["code"]) == ("temprature", "unknown_parameter")
