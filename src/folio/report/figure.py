"""Save figures as PNG files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from folio.errors import UserError
from folio.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, replacing `path` atomically. Raises UserError if it cannot be written."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")


def check_picture_path(path: Path) -> None:
    """Raise UserError unless `path` is a PNG in an existing folder; call it before any work is done."""
    if path.suffix.lower() != ".png":
        raise UserError(f"--png {path}: the file name must end in .png.")
    if not os.path.isdir(path.parent):
        raise UserError(f"--png {path}: there is no folder {path.parent}; create it first.")
    if os.path.isdir(path):
        raise UserError(f"--png {path} is a folder: choose another file name.")
