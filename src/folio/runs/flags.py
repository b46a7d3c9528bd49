"""Command-line flags: settings from defaults, a recipe and flags."""

from __future__ import annotations

import io
import itertools
import re
import sys
import types
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from folio.config import read_recipe, setting_types, to_path
from folio.errors import UserError

Config = TypeVar("Config")
NONE = "None"
ALIKE = 0.76
"""How alike two flags must be for the one to be a misspelling of the other; eps and steps are 0.75 alike."""
POSITIONAL = get_args(tyro.conf.Positional[int])[1]
"""What marks the type of an argument that is no flag."""


def read_config(
    cls: type[Config], arguments: Sequence[str], *, recipe: Path | None, prog: str, description: str | None
) -> Config:
    """Return a `cls` from its defaults, the recipe if there is one, and command-line flags, later ones winning.

    Raises UserError for what is wrong in the recipe or the flags. `--help` prints what there is, and raises SystemExit.
    """
    check_flags(cls, arguments, prog)
    # Without a recipe tyro takes the defaults from the class, and insists on what has none.
    default = tyro.MISSING_NONPROP if recipe is None else read_recipe(cls, recipe)
    try:
        with redirect_stderr(io.StringIO()) as complaint:
            config = tyro.cli(
                cls,
                args=list(arguments),
                default=default,
                prog=prog,
                description=description,
                config=(tyro.conf.OmitArgPrefixes,),
                registry=REGISTRY,
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise UserError(f"{first_paragraph(complaint.getvalue())} See {prog} --help.") from None
    sys.stderr.write(complaint.getvalue())
    return config


def check_flags(cls: Any, arguments: Sequence[str], prog: str) -> None:
    """Raise UserError for an argument that looks like a flag and is none of `cls`, with those that it may have meant."""
    flags = flags_of(cls)
    for argument in itertools.takewhile(lambda each: each != "--", arguments):
        given = argument.split("=")[0]
        flag = given.replace("_", "-")
        if not flag.startswith("--") or flag in flags or flag.startswith("--tyro-"):
            continue
        close = meant_flags(flag, flags)
        hint = f"Did you mean {' or '.join(close)}?" if close else f"Known: {', '.join(flags)}."
        raise UserError(f"unknown flag {given}. {hint} See {prog} --help.")


def meant_flags(flag: str, flags: Sequence[str]) -> list[str]:
    """Return the flags that begin so, or else the one that is nearly spelled so, or else those with no other words."""
    words = set(flag[2:].split("-"))
    close = get_close_matches(flag[2:], [each[2:] for each in flags], n=1, cutoff=ALIKE)
    return (
        [each for each in flags if each.startswith(flag)]
        or [f"--{each}" for each in close]
        or [each for each in flags if words.issuperset(each[2:].split("-"))]
    )


def flags_of(cls: Any) -> list[str]:
    """Return the flags of settings, in their order."""
    flags = []
    for name, hint in setting_types(cls).items():
        if POSITIONAL not in getattr(hint, "__metadata__", ()):
            words = name.replace("_", "-")
            flags += [f"--{words}"] + ([f"--no-{words}"] if hint is bool else [])
    return [*flags, "--help"]


def first_paragraph(box: str) -> str:
    """Return, in one line, what is wrong according to a box that tyro has drawn: what is in it up to the first rule."""
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line).strip(" │") for line in box.splitlines()]
    inside = [line for line in lines if not line.startswith(("╭", "╰"))]
    rule = next((n for n, line in enumerate(inside) if line.startswith("──")), len(inside))
    text = " ".join(" ".join(inside[:rule]).split()).removeprefix("Error parsing ").removesuffix("(required)")
    return f"{text.rstrip(' .')}."


REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def single_value(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Read a number or a path, or one that may be None, with errors that say in words what it must be."""
    parts = get_args(info.type) if get_origin(info.type) in (Union, types.UnionType) else (info.type,)
    kinds = [part for part in (strip_bounds(part) for part in parts) if part is not type(None)]
    if len(kinds) != 1 or kinds[0] not in READERS:
        return None
    (kind,) = kinds
    metavar, read = READERS[kind]
    may_be_none = type(None) in parts
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda texts: None if may_be_none and texts[0] == NONE else read(texts[0]),
        is_instance=lambda value: isinstance(value, kind) or (may_be_none and value is None),
        str_from_instance=lambda value: [str(value)],
    )


def strip_bounds(hint: Any) -> Any:
    """Return a type without its bounds."""
    return getattr(hint, "__origin__", hint) if hasattr(hint, "__metadata__") else hint


def read_whole_number(text: str) -> int:
    """Return the whole number that a text is. Raises ValueError."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is no whole number") from None


def read_number(text: str) -> float:
    """Return the number that a text is. Raises ValueError."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is no number") from None


READERS: dict[Any, tuple[str, Callable[[str], Any]]] = {
    int: ("INT", read_whole_number),
    float: ("FLOAT", read_number),
    Path: ("PATH", to_path),
}
"""For each kind of value, what `--help` calls it, and what reads it."""
