"""Read the JSON of a request strictly: what is not plain, finite JSON within limits is refused by name."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import ClientDisconnect, Request

from folio.server.errors import ApiError

READ_SECONDS = 30.0
"""Most seconds in which a request must have arrived."""
MOST_DISCARDED = 2**26
"""Bytes of a body beyond the limit that are read for nothing: where the connection is closed on a client who still sends, it
sees a reset instead of the answer."""
SURROGATE = re.compile("[\ud800-\udfff]")


async def read_json_object(request: Request) -> dict[str, Any]:
    """Return the JSON object that is a request's body.

    Raises ApiError for another content type (415), a body that is too large (413) or too slow (408), and for what is no
    JSON object, or holds NaN, numbers beyond all floats, a key twice, half characters, or too many levels (400).
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(
            415,
            f"The body must be of type application/json, not {kind[:80] or 'without a type'}.",
            code="unsupported_media_type",
        )
    return parse_object(await read_body(request, request.app.state.config.max_body))


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body of a request, at most `limit` bytes. Raises ApiError where it is larger, or comes too slowly."""
    declared = request.headers.get("content-length", "0")
    if "expect" in request.headers and declared.isdigit() and int(declared[:20]) > limit:
        raise _too_large(limit)  # to a client who asks before it sends
    body, n_bytes = bytearray(), 0
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for chunk in request.stream():
                n_bytes += len(chunk)
                if n_bytes <= limit:
                    body += chunk
                elif n_bytes > limit + MOST_DISCARDED:
                    break
    except TimeoutError:
        raise ApiError(
            408,
            f"The body did not arrive within {READ_SECONDS:g} seconds.",
            code="request_timeout",
            headers={"Connection": "close", "x-should-retry": "false"},
        ) from None
    except ClientDisconnect:
        raise ApiError(400, "The client left before its request had arrived.") from None
    if n_bytes > limit:
        raise _too_large(limit)
    return bytes(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body. Raises ApiError as `read_json_object` does."""
    try:
        value = json.loads(
            body.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_float,
            object_pairs_hook=_object,
        )
        if b"\\ud" in body.lower():
            _check_characters(value, "")
    except UnicodeDecodeError as error:
        raise _bad(f"it is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise _bad(f"{error.msg}, line {error.lineno} column {error.colno}") from None
    except ValueError:  # of Python's own limit, thousands of digits
        raise _bad("a number has too many digits") from None
    except RecursionError:
        raise _bad("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise _bad(f"it must be an object, not {kind_of(value)}")
    return value


def kind_of(value: Any) -> str:
    """Return what JSON calls a value."""
    names: Sequence[tuple[type, str]] = (
        (bool, "a boolean"),
        (int, "an integer"),
        (float, "a number"),
        (str, "a string"),
        (list, "an array"),
        (dict, "an object"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "null")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _bad(f"it has {twice[:80]!r} twice")
    return table


def _float(text: str) -> float:
    value = float(text)
    if abs(value) == float("inf"):
        raise _bad(f"{text[:40]} is beyond all numbers")
    return value


def _refuse_constant(name: str) -> Any:
    raise _bad(f"{name} is no JSON")


def _check_characters(value: Any, where: str) -> None:
    """Raise ApiError for half a character (a lone surrogate) in any string, which no text can hold."""
    if isinstance(value, str):
        if found := SURROGATE.search(value):
            raise ApiError(400, f"{where} has half a character, {found[0]!r}: remove it.", where or None)
    elif isinstance(value, list):
        for n, each in enumerate(value):
            _check_characters(each, f"{where}[{n}]")
    elif isinstance(value, dict):
        for key, each in value.items():
            _check_characters(key, where)
            _check_characters(each, f"{where}.{key}" if where else key)


def _bad(what: str) -> ApiError:
    return ApiError(400, f"The body is not the JSON that this path takes: {what}.", code="invalid_json")


def _too_large(limit: int) -> ApiError:
    return ApiError(
        413,
        f"The request is larger than {limit:,} bytes.",
        code="request_too_large",
        headers={"Connection": "close"},
    )
