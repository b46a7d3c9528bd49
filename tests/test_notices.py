"""Text that is safe to show."""

import logging
import warnings

from signs import OBEYED

from folio import cli
from folio.errors import FolioWarning, UserError
from folio.notices import notify, printable


def test_control_characters_become_signs_one_for_one():
    assert printable("a\x1b[2J\rb\x7f\u202e\x9b\ttab\n東é👍") == "a␛[2J␍b␡��\ttab\n東é👍"
    assert not set(printable(OBEYED)) & set(OBEYED)
    assert len(printable(OBEYED)) == len(OBEYED)


def test_a_notice_has_no_control_characters(capsys):
    notify(f"bad {OBEYED}")
    assert not set(capsys.readouterr().err) & set(OBEYED)


def test_nothing_that_a_command_says_has_control_characters(monkeypatch, capsys):
    def command(arguments):
        warnings.warn(f"ours {OBEYED}", FolioWarning, stacklevel=1)
        warnings.warn(f"theirs {OBEYED}", UserWarning, stacklevel=1)
        logging.getLogger("folio").info("logged %s", OBEYED)
        raise {"mistake": UserError, "interrupt": KeyboardInterrupt}[arguments[0]](f"error {OBEYED}")

    monkeypatch.setattr(cli, "find_command", lambda _: command)
    monkeypatch.setattr(warnings, "filters", [("always", None, Warning, None, 0)])
    for how, code in (("mistake", 2), ("interrupt", 130)):
        assert cli.main(["sample", how]) == code
        err = capsys.readouterr().err
        assert all(word in err for word in ("ours", "theirs", "logged", "error"))
        assert not set(err) & set(OBEYED)
