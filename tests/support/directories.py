"""Directories that folio.files writes, with two files in each."""

from pathlib import Path

from folio.files import damage, write_directory


def put(directory: Path, text: str) -> None:
    def write(temporary: Path) -> None:
        (temporary / "a.txt").write_text(text)
        (temporary / "b.txt").write_text("second")

    write_directory(directory, write)


def content(directory: Path) -> str:
    assert damage(directory) is None
    return (directory / "a.txt").read_text()


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}
