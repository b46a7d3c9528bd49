"""Recipes: a TOML file for each run that a user would start, named after its stage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def take_recipe(stage: str, arguments: Sequence[str]) -> tuple[Path | None, Sequence[str]]:
    """Split off a leading path to a recipe: a TOML file, or a folder with one that is named after the stage."""
    if not arguments or arguments[0].startswith("-"):
        return None, arguments
    path = Path(arguments[0])
    for recipe in (path, path / f"{stage}.toml"):
        if recipe.suffix == ".toml" and os.path.exists(recipe):
            return recipe, arguments[1:]
    return None, arguments


def known_recipes(stage: str) -> str:
    """The folders below recipes/ that have one for a stage, in a list to read."""
    return ", ".join(str(found.parent) for found in sorted(Path("recipes").glob(f"*/{stage}.toml")))
