"""What tests of every folder use."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from tiny import TINY, Folio, Outcome, make_text
from tiny_rl import POLICY, QUICK, make_function, make_prompts, make_talk

from folio import cli

settings.register_profile("folio", deadline=None)  # speed is never asserted in a test
settings.load_profile("folio")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny tensors gain nothing from more, and lose much when the cores are busy."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # for processes that tests start


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Started in the background, by nohup or a script, processes ignore Ctrl-C, and so would those that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _random_state() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    torch.manual_seed(0)


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


@pytest.fixture(scope="session")
def chain(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with the stages of `folio run` beside it, as run-sft beside run; made once. Do not change it."""
    folder = tmp_path_factory.mktemp("chain")
    shutil.copytree(finished, folder / "run")
    talk, prompts = make_talk(folder / "talk.jsonl"), make_prompts(folder / "prompts.jsonl")
    judge = f"{make_function(folder / 'judge.py', 'return len(completion)')}:f"
    run, sft, label, ppo = (str(folder / name) for name in ("run", "run-sft", "run-label", "run-ppo"))
    for arguments in (
        [
            "sft",
            run,
            "--data",
            str(talk),
            "--run",
            sft,
            *QUICK,
            "--micro-batch-size",
            "4",
            "--sample-tokens",
            "8",
        ],
        [
            "label",
            sft,
            "--data",
            str(talk),
            "--out",
            label,
            "--judge",
            judge,
            "--max-new-tokens",
            "8",
            *QUICK,
        ],
        ["ppo", sft, "--data", str(prompts), "--run", ppo, "--reward", judge, "--gold", judge, *POLICY],
    ):
        assert cli.main(arguments) == 0
    return folder / "run"
