"""What is written in C is built once, and can be done without."""

import subprocess
from pathlib import Path

import pytest

from folio.native import library

SOURCE = b"int folio_answer(void) { return 42; }"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The compiler's calls."""
    made: list[list[str]] = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **how: made.append(command) or run(command, **how))
    return made


def needs_a_compiler() -> None:
    if library.decoder() is None:
        pytest.skip("no C compiler")


def test_a_source_is_compiled_once(tmp_path: Path, calls: list[list[str]]) -> None:
    needs_a_compiler()
    first = library.build(SOURCE, tmp_path)
    n = len(calls)
    assert n
    assert library.build(SOURCE, tmp_path) == first
    assert len(calls) == n
    other = library.build(SOURCE.replace(b"42", b"43"), tmp_path)
    assert other != first
    assert sorted(tmp_path.iterdir()) == sorted([first, other])


def test_without_a_compiler_or_room_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no compiler"):
        library.build(SOURCE, tmp_path)
    assert library.decoder.__wrapped__() is None
    (tmp_path / "file").touch()
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "file" / name)
    assert library.decoder.__wrapped__() is None


def test_what_does_not_compile_leaves_nothing(tmp_path: Path) -> None:
    needs_a_compiler()
    with pytest.raises(subprocess.CalledProcessError):
        library.build(b"no C", tmp_path)
    assert not list(tmp_path.iterdir())
