"""Command-line flags: settings from defaults, a recipe and flags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import tyro

from folio.config import read_recipe

Config = TypeVar("Config")


def read_config(
    cls: type[Config], arguments: Sequence[str], *, recipe: Path | None, prog: str, description: str | None
) -> Config:
    """Return a `cls` from its defaults, the recipe if there is one, and command-line flags, later ones winning.

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
