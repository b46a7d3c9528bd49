"""Settings: a dataclass' defaults, then a recipe (TOML) or a table of keywords.

Settings are composed: a stage's dataclass holds others, its parts. For whoever writes a recipe, a keyword or a flag
(`runs/flags.py`) they are one flat list: a key may stand in its part's table or above all tables, and no two parts
share a name.
"""

from __future__ import annotations

import dataclasses
import difflib
import operator
import os
import re
import tomllib
import types
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import annotated_types as bounds

from folio.errors import LONGEST_REASON, UserError, parsing

Config = TypeVar("Config")
PACKAGED_RECIPES = Path(str(resources.files("folio"))) / "recipes"
"""The recipes that come with folio."""
FILE_SETTINGS = ("judge", "reward", "gold")
"""Settings of a recipe that may name a file beside it."""

Few = Annotated[int, bounds.Ge(1), bounds.Le(1024)]
"""Blocks, heads, threads, passes: no model or machine has more."""
Many = Annotated[int, bounds.Ge(1), bounds.Le(2**20)]
"""Widths, contexts, batches: what is in memory at the same time, a million at most."""
Count = Annotated[int, bounds.Ge(1), bounds.Le(10**9)]
"""Steps, tokens, rows: what comes one after another. More would take one machine years."""
Whole = Annotated[int, bounds.Ge(0), bounds.Le(10**9)]
"""A `Count` or a place that may be 0."""
Seed = Annotated[int, bounds.Ge(0), bounds.Lt(2**63)]
Positive = Annotated[float, bounds.Ge(1e-20), bounds.Le(10**6)]
"""Rates, coefficients, ranges, durations. Products of a few such values stay within the range of float32."""
NonNegative = Annotated[float, bounds.Ge(0), bounds.Le(10**6)]
"""A `Positive` that may be 0, which turns off what it weighs."""
Factor = Annotated[float, bounds.Ge(0.001), bounds.Le(10**6)]
"""What scores are divided by: beyond, one token is certain or all are equally likely."""
Fraction = Annotated[float, bounds.Ge(0), bounds.Le(1)]
Decay = Annotated[float, bounds.Ge(0), bounds.Lt(1)]
"""What is left of something at each step, or is left out: at 1 nothing would ever change, or nothing be left."""
EMPTY_PATH = "a path is empty: name a file or a folder"
MAY_BE_PATH = "may be a path"
Source = Annotated[str, MAY_BE_PATH]
"""Data, a reward or a judge: a path, or a name that says where to look."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of all settings.

    On creation, `~` in paths becomes the home folder. Raises UserError for a value outside the bounds that its type
    names, and for an empty path.
    """

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            value = _with_home(name, getattr(self, name), hint)
            object.__setattr__(self, name, value)  # only during construction: afterwards settings are frozen
            _check_bounds(name, value, hint)


def read_recipe(cls: type[Config], path: Path) -> Config:
    """Return a `cls` from a TOML file.

    Raises UserError, naming file and key, for broken TOML, unknown keys and values of the wrong type.
    """
    if not os.path.exists(path):
        raise UserError(f"{path}: no such recipe.")
    with parsing(path, "A recipe is a TOML file."):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    return from_table(cls, name_recipe_files(table, path.parent), str(path))


def name_recipe_files(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a recipe's table in which files beside the recipe are named from the current folder.

    In a packaged recipe they are named as in `shakespeare/rubric.py:score`, wherever folio is installed: what a run
    records is the same on every machine.
    """
    packaged = folder.is_relative_to(PACKAGED_RECIPES)
    prefix = folder.relative_to(PACKAGED_RECIPES) if packaged else folder

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(each) for each in value]
        if not isinstance(value, str):
            return value
        file = re.split(r"(?<=\.py):|=", value)[0]  # of file.py:function=weight
        return f"{(prefix / file).as_posix()}{value[len(file) :]}" if (folder / file).is_file() else value

    return table | {key: named(table[key]) for key in FILE_SETTINGS if key in table}


def from_table(
    cls: type[Config], table: Mapping[str, Any], where: str, default: Config | None = None
) -> Config:
    """Return a dataclass from nested dictionaries, checked against its types.

    default: what has the value of each key that is not given; None for the class' own defaults. Raises UserError, which
    begins with `where`, for an unknown, missing or repeated key, for a wrong value, and for a default of another class.
    """
    if default is not None and not isinstance(default, cls):
        raise UserError(f"{where}: config is a {type(default).__name__}: it must be a {cls.__name__}.")
    given = dict(_flat_items(cls, table, where))
    try:
        return _build(cls, given, where, default)
    except UserError as error:
        raise error if str(error).startswith(where) else UserError(f"{where}: {error}") from None


def to_table(config: Any) -> dict[str, Any]:
    """Return a dataclass as JSON-ready nested dictionaries; `from_table` reads it back."""
    return dataclasses.asdict(config, dict_factory=_json_ready)


def setting_types(cls: Any) -> dict[str, Any]:
    """Return the type of each setting of a dataclass and its parts, with its bounds, by the setting's own name."""
    return {name: hint for name, (_, hint) in _settings(cls).items()}


def to_path(text: str) -> Path:
    """Return the path that a text names, with `~` as the home folder. Raises ValueError for an empty one."""
    if not text:
        raise ValueError(EMPTY_PATH)
    return Path(os.path.expanduser(text))


def flatten(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of nested tables by their own names, which no two parts share."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= flatten(value) if isinstance(value, dict) else {key: value}
    return flat


def _flat_items(
    cls: Any, table: Mapping[str, Any], where: str, prefix: str = ""
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path to each setting that a table gives, and its checked value."""
    settings, parts = _settings(cls), _parts(cls)
    seen: set[tuple[str, ...]] = set()
    for key, value in table.items():
        name = prefix + key
        if key in parts and isinstance(value, dict):
            above, kind = parts[key]
            items = [((*above, *path), each) for path, each in _flat_items(kind, value, where, f"{name}.")]
        elif key in settings:
            path, kind = settings[key]
            items = [(path, _checked(value, kind, f"{where}: {name}"))]
        elif key in parts:
            raise UserError(f"{where}: {name} must be a table, [{name}].")
        else:
            close = difflib.get_close_matches(key, [*settings, *parts], n=1)
            hint = f"Did you mean {prefix}{close[0]}?" if close else f"Known: {', '.join(settings)}."
            raise UserError(f"{where}: unknown key {name}. {hint}")
        for path, each in items:
            if path in seen:
                raise UserError(f"{where}: {path[-1]} is given twice.")
            seen.add(path)
            yield path, each


def _build(
    cls: type[Config], given: Mapping[tuple[str, ...], Any], where: str, default: Any = None
) -> Config:
    """Build a `cls` from the values at these paths; what is not given is `default`'s, or the class' own default."""
    values: dict[str, Any] = {}
    for part in dataclasses.fields(cls):  # type: ignore[arg-type]  # mypy: type[Config] is no dataclass
        below = {path[1:]: value for path, value in given.items() if path[0] == part.name}
        if () in below:
            values[part.name] = below[()]
        elif default is not None:
            values[part.name] = getattr(default, part.name)
        elif part.default is not dataclasses.MISSING:
            values[part.name] = part.default
        elif part.default_factory is not dataclasses.MISSING:
            values[part.name] = part.default_factory()
        elif not below:
            raise UserError(f"{where}: {part.name} is missing.")
        if below and () not in below:
            values[part.name] = _build(_hints(cls)[part.name], below, where, values.get(part.name))
    return cls(**values)


def _hints(cls: Any) -> dict[str, Any]:
    """Return the types of a dataclass' fields, with their bounds."""
    return get_type_hints(cls, include_extras=True)


def _parts(cls: Any) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Return the path to each part of a dataclass, and its class, by the part's own name."""
    parts: dict[str, tuple[tuple[str, ...], Any]] = {}
    for name, hint in _hints(cls).items():
        if dataclasses.is_dataclass(hint):
            parts[name] = ((name,), hint)
            parts |= {key: ((name, *path), kind) for key, (path, kind) in _parts(hint).items()}
    return parts


def _settings(cls: Any) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Return the path to each setting of a dataclass and its parts, and its type, by the setting's own name."""
    settings: dict[str, tuple[tuple[str, ...], Any]] = {}
    for name, hint in _hints(cls).items():
        found: dict[str, tuple[tuple[str, ...], Any]] = {name: ((name,), hint)}
        if dataclasses.is_dataclass(hint):
            found = {key: ((name, *path), kind) for key, (path, kind) in _settings(hint).items()}
        if shared := settings.keys() & found.keys():
            raise TypeError(f"{cls.__name__} has two settings called {', '.join(sorted(shared))}")
        settings |= found
    return settings


COMPARISONS = (
    (bounds.Gt, "gt", operator.gt, "above"),
    (bounds.Ge, "ge", operator.ge, "at least"),
    (bounds.Lt, "lt", operator.lt, "below"),
    (bounds.Le, "le", operator.le, "at most"),
)


def _check_bounds(name: str, value: Any, hint: Any) -> None:
    """Raise UserError where a number is outside the bounds of its type, also one of several."""
    kind, metadata = _split(hint)
    if isinstance(value, tuple) and get_origin(kind) is tuple:
        for each in value:
            _check_bounds(name, each, get_args(kind)[0])
    limits = list(_limits(metadata))
    if isinstance(value, int | float) and not all(holds(value) for holds, _ in limits):
        allowed = " and ".join(words for _, words in limits)
        raise UserError(f"{name} is {_words(value)}: it must be {allowed}.")


def _limits(metadata: Iterable[Any]) -> Iterator[tuple[Any, str]]:
    """Yield a check and its words for each bound of a type."""
    for bound in metadata:
        for kind, attribute, compare, words in COMPARISONS:
            if isinstance(bound, kind):
                limit = getattr(bound, attribute)
                text = f"{words} {limit:{',' if isinstance(limit, int) else 'g'}}"
                yield lambda value, compare=compare, limit=limit: compare(value, limit), text


def _with_home(name: str, value: Any, hint: Any) -> Any:
    """Return the value with `~` as the home folder where it is or may be a path. Raises UserError for an empty one."""
    kind, metadata = _split(hint)
    if isinstance(value, tuple) and get_origin(kind) is tuple:
        return tuple(_with_home(name, each, get_args(kind)[0]) for each in value)
    if isinstance(value, Path):
        return to_path(str(value))
    if isinstance(value, str) and MAY_BE_PATH in metadata:
        if not value:
            raise UserError(f"{name}: {EMPTY_PATH}.")
        return os.path.expanduser(value)
    return value


def _split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the type of a setting without None and what annotates it, and that apart."""
    if get_origin(hint) is Annotated:
        kind, metadata = _split(get_args(hint)[0])
        return kind, (*metadata, *hint.__metadata__)
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
        return _split(hint)
    return hint, ()


def _checked(value: Any, hint: Any, where: str) -> Any:
    """Return `value` as a type, where a whole number may stand for a float and a string for a path."""
    if value is None and _may_be_none(hint):
        return value
    kind, _ = _split(hint)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UserError(f"{where} is {_words(value)}; it can be {', '.join(map(repr, get_args(kind)))}.")
        return value
    if get_origin(kind) is tuple:  # TOML and JSON call it a list
        first, *others = get_args(kind)
        if not isinstance(value, list | tuple):
            if others != [...]:
                raise UserError(f"{where} is {_words(value)}; it must be a list.")
            value = [value]  # as a flag takes one or several
        if others != [...] and len(value) != len(get_args(kind)):
            raise UserError(f"{where} is {_words(value)}; it must be a list of {len(get_args(kind))}.")
        return tuple(_checked(item, first, f"{where}, item {n}") for n, item in enumerate(value, 1))
    accepted = {float: (int, float), Path: (str,)}.get(kind, (kind,))
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{where} is {_words(value)}; it must be of type {kind.__name__}.")
    try:
        return to_path(value) if kind is Path else kind(value)
    except (ValueError, OverflowError) as error:  # an empty path; a whole number beyond all floats
        raise UserError(f"{where}: {error}.") from None


def _may_be_none(hint: Any) -> bool:
    hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return type(None) in get_args(hint)


def _words(value: Any) -> str:
    """Return a value for a message: short, and on one line."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write out such numbers
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."


def _json_ready(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in items}
