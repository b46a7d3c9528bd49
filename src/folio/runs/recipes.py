"""Find recipes: folders with a TOML file of settings for each stage.

A recipe is given as the path of its file or folder, or as the name of a packaged folder. Paths that exist come first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from folio.config import PACKAGED_RECIPES


def take_recipe(stage: str, arguments: Sequence[str]) -> tuple[Path | None, Sequence[str]]:
    """Split off a leading recipe: a TOML file, or a folder, possibly packaged, that has one for the stage."""
    if not arguments or arguments[0].startswith("-"):
        return None, arguments
    folder = find_recipes(Path(arguments[0]))
    for recipe in (folder, folder / f"{stage}.toml"):
        if recipe.suffix == ".toml" and os.path.exists(recipe):
            return recipe, arguments[1:]
    return None, arguments


def find_recipes(path: Path) -> Path:
    """Return `path`, with `~` as the home folder, if it exists, else the packaged folder of that name if there is one, else `path`."""
    path = Path(os.path.expanduser(path))
    if os.path.exists(path):
        return path
    return packaged_recipes("*").get(path.as_posix(), path)


def find_recipe_file(spec: str) -> str:
    """Return `file.py:name` with the path of a packaged file if `file.py` names one and does not exist itself.

    `shakespeare/rubric.py:score` is the packaged rubric unless the current folder has such a file.
    """
    file, colon, name = spec.rpartition(":")
    packaged = PACKAGED_RECIPES / file
    return f"{packaged}{colon}{name}" if not os.path.exists(file) and packaged.is_file() else spec


def packaged_recipes(stage: str) -> dict[str, Path]:
    """Return the packaged folders that have a recipe for a stage, by name."""
    found = {path.parent for path in PACKAGED_RECIPES.glob(f"**/{stage}.toml")}
    return {folder.relative_to(PACKAGED_RECIPES).as_posix(): folder for folder in sorted(found)}


def known_recipes(stage: str) -> str:
    """Return the names of the recipes for a stage as text: packaged ones, then those in ./recipes."""
    own = (str(found.parent) for found in sorted(Path("recipes").glob(f"*/{stage}.toml")))
    return ", ".join([*packaged_recipes(stage), *own])
