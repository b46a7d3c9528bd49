"""Tiny runs on a tiny text, through the command line."""

from pathlib import Path

import pytest
from tiny import TINY, Folio, Outcome, make_text

from folio import cli


@pytest.fixture(autouse=True)
def _short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("folio.stages.training.SAMPLE_TOKENS", 8)
    monkeypatch.setattr("folio.stages.show.SCENE_TOKENS", 8)


@pytest.fixture
def folio(capsys: pytest.CaptureFixture[str]) -> Folio:
    """Runs a command in this process."""

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def pretrain(folio: Folio, text_file: Path, run: Path) -> Folio:
    """Runs `folio pretrain` on the tiny text, with tiny sizes, into `run`; later flags win."""
    return lambda *flags: folio("pretrain", "--data", text_file, "--run", run, *TINY, *flags)


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text(make_text(), encoding="utf-8")
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, made once. Do not change it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "words.txt").write_text(make_text(), encoding="utf-8")
    arguments = ["pretrain", "--data", str(folder / "words.txt"), "--run", str(folder / "run"), *TINY]
    assert cli.main(arguments) == 0
    return folder / "run"
