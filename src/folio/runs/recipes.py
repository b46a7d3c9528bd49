"""Recipes: a TOML file for each run, named after its stage, in a folder for each way from a text to an assistant.

A recipe is named by a path to its file or folder, or by the name of a folder that comes with folio. What exists in the
current folder comes first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from folio.config import PACKAGED_RECIPES


def take_recipe(stage: str, arguments: Sequence[str]) -> tuple[Path | None, Sequence[str]]:
    """Split off a leading recipe: a TOML file, a folder with one that is named after the stage, or the name of a
    packaged folder."""
    if not arguments or arguments[0].startswith("-"):
        return None, arguments
    folder = find_recipes(Path(arguments[0]))
    for recipe in (folder, folder / f"{stage}.toml"):
        if recipe.suffix == ".toml" and os.path.exists(recipe):
            return recipe, arguments[1:]
    return None, arguments


def find_recipes(path: Path) -> Path:
    """Return the folder of recipes meant by `path`: itself where it exists, or else the packaged folder of that name.

    Returns `path` unchanged where there is neither.
    """
    if os.path.exists(path):
        return path
    return packaged_recipes("*").get(path.as_posix(), path)


def find_recipe_file(spec: str) -> str:
    """Return `file.py:name` with the file's place on this machine, where it is one of a packaged recipe.

    `shakespeare/rubric.py:score` means the packaged rubric unless the current folder has such a file.
    """
    file, colon, name = spec.rpartition(":")
    packaged = PACKAGED_RECIPES / file
    return f"{packaged}{colon}{name}" if not os.path.exists(file) and packaged.is_file() else spec


def packaged_recipes(stage: str) -> dict[str, Path]:
    """Return the folders that come with folio and have a recipe for a stage, by name."""
    found = {path.parent for path in PACKAGED_RECIPES.glob(f"**/{stage}.toml")}
    return {folder.relative_to(PACKAGED_RECIPES).as_posix(): folder for folder in sorted(found)}


def known_recipes(stage: str) -> str:
    """Return the recipes for a stage as a list to read: the packaged ones, and those below ./recipes."""
    own = (str(found.parent) for found in sorted(Path("recipes").glob(f"*/{stage}.toml")))
    return ", ".join([*packaged_recipes(stage), *own])
