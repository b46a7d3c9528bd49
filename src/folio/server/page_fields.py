"""Read the fields of the page's requests: each has one reader, and a wrong value is refused by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from folio.server.body import kind_of
from folio.server.errors import ApiError

Reader = Callable[[str, Any], Any]
"""Takes a field's name and its JSON value; returns the value, or raises ApiError."""

LARGEST = 2**31 - 1


def read(body: Mapping[str, Any], readers: Mapping[str, Reader], required: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of a body that are there and not null, each read by its reader.

    Raises ApiError for a field that no reader is for, one that is required and missing, and a wrong value.
    """
    for name in body:
        if name not in readers:
            raise ApiError(400, f"{name[:80]!r} is no field here: there are {', '.join(readers)}.", name[:80])
    for name in required:
        if body.get(name) is None:
            raise ApiError(400, f"{name} is missing.", name)
    return {name: readers[name](name, value) for name, value in body.items() if value is not None}


def string(name: str, value: Any) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise wrong(name, value, "a string")
    return value


def whole(name: str, value: Any) -> int:
    """Return a whole number, 0 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise wrong(name, value, f"a whole number from 0 to {LARGEST}")
    return value


def list_of(reader: Reader, length: int | None = None) -> Reader:
    """Return a reader of arrays, of that length where one is given."""

    def read_list(name: str, value: Any) -> list[Any]:
        if not isinstance(value, list) or (length is not None and len(value) != length):
            raise wrong(name, value, "an array" if length is None else f"an array of {length}")
        return [reader(f"{name}[{number}]", each) for number, each in enumerate(value)]

    return read_list


def message(name: str, value: Any) -> dict[str, str]:
    """Return a message of a conversation."""
    if not isinstance(value, dict):
        raise wrong(name, value, "an object with role and content")
    return {key: string(f"{name}.{key}", value.get(key)) for key in ("role", "content")}


def wrong(name: str, value: Any, wanted: str) -> ApiError:
    """Return the refusal of a value."""
    return ApiError(400, f"{name} must be {wanted}, not {kind_of(value)}.", name)
