"""Settings: a dataclass' defaults, then a recipe (TOML), then flags."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import types
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from folio.errors import UserError

Config = TypeVar("Config")
PACKAGED_RECIPES = Path(str(resources.files("folio"))) / "recipes"
"""The recipes that come with folio."""
FILE_SETTINGS = ("judge", "reward", "gold")
"""Settings of a recipe that may name a file beside it."""


def read_config(
    cls: type[Config], arguments: Sequence[str], *, recipe: Path | None, prog: str, description: str
) -> Config:
    """A `cls` from its defaults, the recipe if there is one, and command-line flags, later ones winning.

    tyro prints usage errors itself and exits with 2. Raises UserError for what is wrong in the recipe.
    """
    # Without a recipe tyro takes the defaults from the class, and insists on what has none.
    default = tyro.MISSING_NONPROP if recipe is None else read_recipe(cls, recipe)
    return tyro.cli(
        cls,
        args=list(arguments),
        default=default,
        prog=prog,
        description=description,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def read_recipe(cls: type[Config], path: Path) -> Config:
    """A `cls` from a TOML file whose tables are the dataclass' parts.

    Raises UserError, naming file and key, for broken TOML, unknown keys and values of the wrong type; tyro
    alone would only warn.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such recipe.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: not a readable TOML file ({error}).") from None
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


def from_table(cls: type[Config], table: dict[str, Any], where: str, prefix: str = "") -> Config:
    """A dataclass from nested dictionaries, checked against its types."""
    hints = get_type_hints(cls)
    values = {}
    for key, value in table.items():
        name = prefix + key
        if key not in hints:
            close = difflib.get_close_matches(key, hints, n=1)
            hint = f" Did you mean {prefix}{close[0]}?" if close else f" Known: {', '.join(hints)}."
            raise UserError(f"{where}: unknown key {name}.{hint}")
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, dict):
                raise UserError(f"{where}: {name} must be a table, [{name}].")
            values[key] = from_table(hints[key], value, where, name + ".")
        else:
            values[key] = _checked(value, hints[key], f"{where}: {name}")
    for part in dataclasses.fields(cls):  # type: ignore[arg-type]  # mypy: type[Config] is no dataclass
        if part.name not in values and part.default is part.default_factory is dataclasses.MISSING:
            raise UserError(f"{where}: {prefix}{part.name} is missing.")
    try:
        return cls(**values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _checked(value: Any, kind: Any, where: str) -> Any:
    """`value` as `kind`, where a whole number may stand for a float and a string for a path."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UserError(f"{where} is {value!r}; it can be {', '.join(map(repr, get_args(kind)))}.")
        return value
    if get_origin(kind) in (Union, types.UnionType):
        if value is None:
            return value
        (kind,) = (part for part in get_args(kind) if part is not type(None))
        return _checked(value, kind, where)
    if get_origin(kind) is tuple:  # of any length; TOML and JSON call it a list
        if not isinstance(value, list | tuple):
            raise UserError(f"{where} is {value!r}; it must be a list.")
        return tuple(
            _checked(item, get_args(kind)[0], f"{where}, item {n}") for n, item in enumerate(value, 1)
        )
    accepted = {float: (int, float), Path: (str,)}.get(kind, (kind,))
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{where} is {value!r}; it must be of type {kind.__name__}.")
    return kind(value)


def to_table(config: Any) -> dict[str, Any]:
    """A dataclass as JSON-ready nested dictionaries; `from_table` reads it back."""
    return dataclasses.asdict(config, dict_factory=_json_ready)


def _json_ready(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in items}
