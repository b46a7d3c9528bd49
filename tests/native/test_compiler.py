"""What is written in C is built once, with a compiler that works, and can be done without."""

import subprocess
from pathlib import Path

import pytest

from folio.native import compiler

SOURCE = b"int folio_answer(void) { return 42; }"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The compiler's calls."""
    made: list[list[str]] = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **how: made.append(command) or run(command, **how))
    return made


@pytest.fixture
def can_compile() -> None:
    if compiler.decoder() is None:
        pytest.skip("no C compiler")


def broken_compiler(folder: Path, script: str) -> None:
    """Put a compiler before all others that are on the path."""
    folder.mkdir()
    (folder / "cc").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "cc").chmod(0o755)


@pytest.mark.usefixtures("can_compile")
def test_a_source_is_compiled_once(tmp_path: Path, calls: list[list[str]]) -> None:
    first = compiler.build(SOURCE, tmp_path)
    n = len(calls)
    assert n
    assert compiler.build(SOURCE, tmp_path) == first
    assert len(calls) == n
    other = compiler.build(SOURCE.replace(b"42", b"43"), tmp_path)
    assert other != first
    assert sorted(tmp_path.iterdir()) == sorted([first, other])


@pytest.mark.usefixtures("can_compile")
def test_a_compiler_that_fails_or_hangs_makes_way_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    before = os.environ["PATH"]
    monkeypatch.setattr(compiler, "SECONDS", 1)
    for number, script in enumerate(("exit 1", "exec sleep 20")):
        folder = tmp_path / str(number)
        broken_compiler(folder, script)
        monkeypatch.setenv("PATH", f"{folder}:{before}")
        monkeypatch.setattr(compiler, "SECONDS", 1 if "sleep" in script else 60)
        assert compiler.build(SOURCE, tmp_path / f"made-{number}").exists()


def test_without_a_compiler_there_is_none_and_it_is_said_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no compiler"):
        compiler.build(SOURCE, tmp_path)
    assert compiler.decoder.__wrapped__() is None
    assert compiler.problem().startswith("no compiler: none of cc, gcc")
    broken_compiler(tmp_path / "bin", "echo 'it is broken' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert compiler.decoder.__wrapped__() is None
    assert compiler.problem().endswith("cc fails: it is broken")


@pytest.mark.usefixtures("can_compile")
def test_where_nothing_can_be_kept_or_what_is_kept_is_damaged_it_is_built_for_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "file" / name)
    assert compiler.load().folio_panel() > 0
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    compiler.load()
    (kept,) = (tmp_path / "folio" / "native").iterdir()
    kept.unlink()
    kept.write_bytes(b"")
    assert compiler.load().folio_panel() > 0


@pytest.mark.usefixtures("can_compile")
def test_what_does_not_compile_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        compiler.build(b"no C", tmp_path)
    assert not list(tmp_path.iterdir())
