"""/openapi.json, made from the tables of fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from folio import __version__
from folio.server import chat, completions, responses, tokens
from folio.server.fields import Field, Fields

ENDPOINTS: Mapping[str, tuple[Fields, str]] = {
    "/v1/chat/completions": (chat.FIELDS, "Answer a conversation."),
    "/v1/completions": (completions.FIELDS, "Continue a text."),
    "/v1/responses": (responses.FIELDS, "Answer an input; nothing is stored."),
    "/tokenize": (tokens.TOKENIZE, "Turn a text or a conversation into tokens."),
    "/detokenize": (tokens.DETOKENIZE, "Turn tokens into a text."),
}
VIEWS = {
    "/v1/models": "List the models.",
    "/health": "Say that the server is there.",
    "/openapi.json": "Describe the API.",
}
ERROR: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}


def describe_api() -> dict[str, Any]:
    """Return the description of the API in OpenAPI's form."""
    posts = {
        path: {"post": operation(words, body(fields), path)} for path, (fields, words) in ENDPOINTS.items()
    }
    views = {path: {"get": operation(words, None, path)} for path, words in VIEWS.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "folio", "version": __version__},
        "paths": posts | views,
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def operation(words: str, request: Mapping[str, Any] | None, path: str) -> dict[str, Any]:
    """Return what one path does."""
    error = {"description": "Refused.", "content": json_content({"$ref": "#/components/schemas/Error"})}
    content = json_content({"type": "object"})
    if request is not None and "stream" in request["properties"]:
        content |= {"text/event-stream": {"schema": {"type": "string"}}}
    described: dict[str, Any] = {
        "summary": words,
        "operationId": path.strip("/").replace("/", "_"),
        "responses": {"200": {"description": "Done.", "content": content}, "default": error},
    }
    if request is not None:
        described["requestBody"] = {"required": True, "content": json_content(request)}
    return described


def body(fields: Fields) -> dict[str, Any]:
    """Return the schema of a request."""
    return {
        "type": "object",
        "properties": {name: nullable(each) for name, each in fields.items()},
        "required": [name for name, each in fields.items() if each.is_required],
        "additionalProperties": False,
    }


def nullable(field: Field) -> dict[str, Any]:
    """Return the schema of a field, which may be null where it may be left out."""
    words = f"{field.use} ({field.status})"
    if field.is_required:
        return {**field.schema, "description": words}
    return {"anyOf": [field.schema, {"type": "null"}], "description": words}


def json_content(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a request or a response."""
    return {"application/json": {"schema": schema}}
