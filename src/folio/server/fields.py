"""Fields of requests as tables: what each may hold, what it does, and which are refused.

A field is honored, accepted because it changes nothing here, or refused by its name. A field that no table has is refused as
well: nothing is ignored in silence. The same tables make /openapi.json and the documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from folio.server.body import kind_of
from folio.server.errors import ApiError

Schema = Mapping[str, Any]
"""JSON Schema, of which `check` knows: type, enum, minimum, maximum, exclusiveMinimum, minLength, maxLength, minItems,
maxItems, items, properties, required, maxProperties, additionalProperties, anyOf."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field of a request. null is the same as leaving it out.

    schema: what it may hold. of a refused field, what is the same as leaving it out. use: what it does, or why not.
    """

    schema: Schema
    use: str
    status: Literal["honored", "accepted", "refused"] = "honored"
    is_required: bool = False


Fields = Mapping[str, Field]


def number(use: str, low: float, high: float) -> Field:
    """Return a field that holds a number."""
    return Field(schema={"type": "number", "minimum": low, "maximum": high}, use=use)


def whole(use: str, low: int, high: int) -> Field:
    """Return a field that holds a whole number."""
    return Field(schema={"type": "integer", "minimum": low, "maximum": high}, use=use)


def flag(use: str) -> Field:
    """Return a field that holds true or false."""
    return Field(schema={"type": "boolean"}, use=use)


def accepted(kind: str, use: str = "changes nothing here") -> Field:
    """Return a field that is taken and changes nothing."""
    return Field(schema={"type": kind}, use=use, status="accepted")


def refused(use: str, *neutral: Any) -> Field:
    """Return a field that is refused, but for values that ask for nothing."""
    return Field(schema={"enum": list(neutral)}, use=use, status="refused")


@dataclass(frozen=True)
class Values:
    """The fields of a request, checked. Those that were left out, or null, are not in `given`."""

    given: Mapping[str, Any] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field's value."""
        return self.given.get(name, default)


def read_fields(body: Mapping[str, Any], fields: Fields) -> Values:
    """Return the fields of a body.

    Raises ApiError (400) for one that is unknown, required and missing, refused, or has a value of another type or range.
    """
    given = {}
    for name, value in body.items():
        known = fields.get(name)
        if known is None:
            raise unknown(name, fields)
        if value is None:
            continue
        if known.status == "refused":
            refuse(name, value, known)
        else:
            given[name] = check(value, known.schema, name)
    for name, known in fields.items():
        if known.is_required and name not in given:
            raise ApiError(400, f"{name} is missing.", name, "missing_required_parameter")
    return Values(given)


def unknown(name: str, fields: Fields) -> ApiError:
    """Return the refusal of a field that no table has."""
    close = get_close_matches(name[:80], fields, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return ApiError(400, f"{name[:80]!r} is no field here.{hint}", name[:80], "unknown_parameter")


def refuse(name: str, value: Any, known: Field) -> None:
    """Raise ApiError unless the value of a refused field asks for nothing."""
    if not is_one_of(value, known.schema["enum"]):
        raise ApiError(400, f"{name} is not supported: {known.use}.", name, "unsupported_parameter")


def check(value: Any, schema: Schema, where: str) -> Any:
    """Return a value as a schema says, a whole number in the form 5.0 as an integer. Raises ApiError, which names it."""
    if "anyOf" in schema:
        return check_any(value, schema["anyOf"], where)
    if "enum" in schema:
        if not is_one_of(value, schema["enum"]):
            raise wrong(where, f"must be {' or '.join(map(repr, schema['enum']))}, not {short(value)}")
        return value
    kind = schema.get("type")
    if kind is None:
        return value
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not is_of(value, kind):
        raise wrong(where, f"must be {ARTICLES[kind]}, not {kind_of(value)}")
    return CHECKS[kind](value, schema, where)


def is_one_of(value: Any, values: Sequence[Any]) -> bool:
    """Return whether a value is among others. To Python, true is 1, which it is not."""
    return any(value == each and type(value) is type(each) for each in values)


def check_any(value: Any, schemas: Sequence[Schema], where: str) -> Any:
    """Return a value as the first schema of its type says."""
    for schema in schemas:
        if is_of(value, schema["type"]) and fits_items(value, schema):
            return check(value, schema, where)
    names = " or ".join(named(schema) for schema in schemas)
    raise wrong(where, f"must be {names}, not {kind_of(value)}")


def named(schema: Schema) -> str:
    """Say what a schema is for."""
    items = schema.get("items", {})
    inside = items.get("items", {}).get("type")
    words = f"{ARTICLES[schema['type']]}" + (f" of {items['type']}s" if "type" in items else "")
    return words + (f" of {inside}s" if inside else "")


def fits_items(value: Any, schema: Schema) -> bool:
    """Return whether the first item of an array is of the type that the schema says."""
    kind = schema.get("items", {}).get("type")
    return not isinstance(value, list) or not value or kind is None or is_of(value[0], kind)


def is_of(value: Any, kind: str) -> bool:
    """Return whether a value is of a type of JSON Schema."""
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, PYTHON[kind])


def check_number(value: Any, schema: Schema, where: str) -> Any:
    """Return a number that is within its bounds."""
    low, high, above = (schema.get(name) for name in ("minimum", "maximum", "exclusiveMinimum"))
    if (low is not None and value < low) or (high is not None and value > high):
        raise wrong(where, f"is {short(value)}: it must be {bounds(low, high)}")
    if above is not None and value <= above:
        raise wrong(where, f"is {short(value)}: it must be above {above:g}")
    return value


def bounds(low: float | None, high: float | None) -> str:
    """Say between what a number must be."""
    if low is None or high is None:
        return f"at most {high:,}" if low is None else f"at least {low:,}"
    return f"between {low:,} and {high:,}"


def check_string(value: str, schema: Schema, where: str) -> str:
    """Return a string that is not too short or too long."""
    if len(value) < schema.get("minLength", 0):
        raise wrong(where, "is empty")
    if len(value) > (most := schema.get("maxLength", len(value))):
        raise wrong(where, f"has {len(value):,} characters: it may have {most:,}")
    return value


def check_array(value: list[Any], schema: Schema, where: str) -> list[Any]:
    """Return an array whose items are right."""
    if len(value) < schema.get("minItems", 0):
        raise wrong(where, "is empty")
    if len(value) > (most := schema.get("maxItems", len(value))):
        raise wrong(where, f"has {len(value):,} items: it may have {most:,}")
    items = schema.get("items", {})
    if are_whole(value, items):
        return value
    return [check(each, items, f"{where}[{n}]") for n, each in enumerate(value)]


def are_whole(values: Sequence[Any], schema: Schema) -> bool:
    """Return whether all values are whole numbers as a schema says: at one glance, for a prompt may have very many ids."""
    is_plain = schema.get("type") == "integer" and schema.keys() <= {"type", "minimum"}
    return is_plain and set(map(type, values)) == {int} and min(values) >= schema.get("minimum", min(values))


def check_object(value: dict[str, Any], schema: Schema, where: str) -> dict[str, Any]:
    """Return an object whose properties are right."""
    if len(value) > (most := schema.get("maxProperties", len(value))):
        raise wrong(where, f"has {len(value):,} entries: it may have {most:,}")
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            raise ApiError(
                400, f"{where}.{name} is missing.", f"{where}.{name}", "missing_required_parameter"
            )
    found = {}
    for name, each in value.items():
        place = f"{where}.{name[:80]}"
        if name not in properties and others is False:
            raise ApiError(400, f"{place} is no field here.", place, "unknown_parameter")
        inner = properties.get(name, others if isinstance(others, Mapping) else {})
        found[name] = check(each, inner, place) if each is not None or name not in properties else None
    return found


def wrong(where: str, what: str) -> ApiError:
    """Return the refusal of a value."""
    return ApiError(400, f"{where} {what}.", where)


def short(value: Any) -> str:
    """Return a value for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]} ..."


ARTICLES = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}
PYTHON: Mapping[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "string": str,
}
CHECKS: Mapping[str, Callable[[Any, Schema, str], Any]] = {
    "array": check_array,
    "boolean": lambda value, schema, where: value,
    "integer": check_number,
    "number": check_number,
    "object": check_object,
    "string": check_string,
}
"""What looks at a value of each type."""
