"""The command line: its commands, exit codes, what is told to whom."""

import errno
import logging
import os
import subprocess
import sys

import pytest

from folio import __version__, cli
from folio.errors import UserError

FOLIO = [sys.executable, "-m", "folio"]


def test_help_lists_the_commands(capsys):
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        assert cli.main(arguments) == 0
        out = capsys.readouterr().out
        assert all(f"  {command}" in out for command in cli.COMMANDS)
        assert max(map(len, out.splitlines())) <= 80


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"folio {__version__}\n"


def test_help_imports_nothing_slow():
    code = (
        "import sys; from folio.__main__ import main\n"
        "sys.argv = ['folio', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "slow = {'torch', 'numpy', 'tyro', 'rich', 'matplotlib', 'tokenizers'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: folio COMMAND" in done.stdout


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("pretain", "Did you mean pretrain?"),
        ("zzz", f"Commands: {', '.join(cli.COMMANDS)}."),
    ],
)
def test_an_unknown_command_is_a_mistake(command, hint, capsys):
    assert cli.main([command]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"folio: unknown command {command!r}. {hint}\n"
    assert captured.out == ""


def command_that_raises(monkeypatch, error):
    def command(arguments):
        raise error

    monkeypatch.setattr(cli, "find_command", lambda arguments: command)


def test_a_users_mistake_is_one_line_and_code_2(monkeypatch, capsys):
    command_that_raises(monkeypatch, UserError("so it is."))
    assert cli.main(["any"]) == 2
    assert capsys.readouterr().err == "folio: so it is.\n"


def test_an_interrupt_is_130(monkeypatch, capsys):
    command_that_raises(monkeypatch, KeyboardInterrupt("Saved there."))
    assert cli.main(["any"]) == 130
    assert capsys.readouterr().err.strip() == "Interrupted. Saved there."
    command_that_raises(monkeypatch, KeyboardInterrupt())
    assert cli.main(["any"]) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "make room on the disk"),
    ],
)
def test_what_the_machine_lacks_is_one_line_and_code_2(error, words, monkeypatch, capsys):
    command_that_raises(monkeypatch, error)
    assert cli.main(["any"]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_our_own_faults_keep_their_traceback(monkeypatch):
    command_that_raises(monkeypatch, ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError, match="ours"):
        cli.main(["any"])


def test_a_reader_that_has_gone_is_no_error():
    """As in `folio sample ... | head`."""
    code = (
        "import sys; from folio import cli\n"
        "def command(arguments):\n"
        "    for _ in range(100_000): sys.stdout.write('line\\n')\n"
        "cli.find_command = lambda arguments: command\n"
        "sys.exit(cli.main(['any']))"
    )
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    os.close(reading)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert "--" in capsys.readouterr().out


def test_what_the_library_logs_is_a_line_for_the_user(capsys):
    logger = logging.getLogger("folio.data.hub")
    with cli.shown_logs():
        logger.info("looking for %s", "a/b")
    logger.info("nobody asked")
    assert capsys.readouterr() == ("", "folio: looking for a/b\n")
