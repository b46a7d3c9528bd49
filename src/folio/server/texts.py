"""The texts that the page was given, kept under names that the server chooses."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from folio.data.corpora import load_corpus
from folio.errors import UserError
from folio.files import write_file

FOLDER = "texts"
"""Where they lie, in the folder of the runs."""
LONGEST_NAME = 40
DEVICE = re.compile(r"con|prn|aux|nul|(com|lpt)\d")
"""Names that no file can have on Windows."""


@dataclass(frozen=True)
class Text:
    """A text to train on. name: also that of its runs."""

    name: str
    path: Path
    characters: int
    distinct: int


class Texts:
    """The texts of a folder of runs."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.folder = runs / FOLDER

    def all(self) -> dict[str, Path]:
        """Return the files by name."""
        return {path.stem: path for path in sorted(self.folder.glob("*.txt"), key=lambda path: path.stem)}

    def find(self, name: str) -> Path:
        """Return the file of a text. Raises UserError where there is none."""
        path = self.all().get(name)
        if path is None:
            raise UserError(f"there is no text {name[:80]!r} here: drop its file on the page again.")
        return path

    def keep(self, given: str, text: str) -> Text:
        """Write a text, unless it is there already, and return it.

        given: the name of its file where it came from; the name here only resembles it. Raises UserError where there is
        nothing to learn from.
        """
        content = text.encode()
        if b"\0" in content:
            raise UserError("this looks like a binary file: choose a text.")
        for name, path in self.all().items():
            if path.stat().st_size == len(content) and path.read_bytes() == content:
                return self._described(name, path)
        path = self.folder / f"{self._free_name(given)}.txt"
        write_file(path, content)
        try:
            return self._described(path.stem, path)
        except UserError as error:
            path.unlink()
            raise UserError(str(error).replace(str(path), given[:80] or "the text")) from None

    @staticmethod
    def _described(name: str, path: Path) -> Text:
        text = load_corpus(str(path)).text
        return Text(name, path, len(text), len(set(text)))

    def _free_name(self, given: str) -> str:
        """Return a name like the given one that no text and no run has."""
        base = plain_name(given)
        taken = {path.name.casefold() for folder in (self.runs, self.folder) for path in folder.glob("*")}
        stems = {Path(name).stem for name in taken}
        number = 1
        while (name := base if number == 1 else f"{base}-{number}") in stems | taken:
            number += 1
        return name


def plain_name(given: str) -> str:
    """Return a file name's letters and digits in ASCII and lower case, joined by hyphens: "Märchen (1).txt" is "marchen-1"."""
    name = re.split(r"[\\/]", given)[-1]
    stem, dot, _ = name.rpartition(".")
    ascii_only = (
        unicodedata.normalize("NFKD", stem if dot else name).encode("ascii", "ignore").decode().lower()
    )
    plain = re.sub(r"[^a-z0-9]+", "-", ascii_only)[:LONGEST_NAME].strip("-") or "text"
    return f"text-{plain}" if DEVICE.fullmatch(plain) else plain
