"""`folio serve`: what it prints, and the mistakes that it tells in a line."""

import re
import shutil
import webbrowser

import pytest
from tiny import answering

from folio.server.process import Server, bind


@pytest.fixture(autouse=True)
def _stops_at_once(monkeypatch):
    """The server itself is tested in tests/server; tests/server/test_process.py runs this command in a process."""
    monkeypatch.setattr(Server, "run", lambda self, sockets: None)


@pytest.fixture
def runs(tmp_path, finished, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, tmp_path / "runs" / "words")
    answering(finished, tmp_path / "runs" / "deep" / "chat")
    return tmp_path / "runs"


def test_it_prints_where_what_and_how_to_stop(folio, runs):
    done = folio("serve", "--port", "0")
    assert done.code == 0
    address = re.search(r"Page  (http://127\.0\.0\.1:\d+)\n", done.out)[1]
    assert f"API   {address}/v1\n" in done.out
    assert "Stop  Ctrl-C\n" in done.out
    assert re.search(r"^deep/chat +answers, .* parameters, reads 16 tokens", done.out, re.MULTILINE)
    assert re.search(r"^words +continues texts, ", done.out, re.MULTILINE)
    assert "Key" not in done.out
    assert done.out.endswith("Stopped.\n")


def test_one_run_or_several_folders(folio, runs):
    done = folio("serve", runs / "words", runs / "deep", "--port", "0")
    assert re.search(r"^words +continues", done.out, re.MULTILINE)
    assert re.search(r"^chat +answers", done.out, re.MULTILINE)


def test_without_a_model_it_says_how_to_make_one_and_serves(folio, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = folio("serve", "--port", "0")
    assert done.code == 0
    (line,) = done.err.splitlines()
    assert "runs: no model yet" in line
    assert "folio run shakespeare" in line


def test_a_folder_that_is_not_there_is_a_mistake(folio, tmp_path):
    assert "no such folder" in folio("serve", tmp_path / "nowhere").mistake


def test_a_port_that_is_taken_is_a_mistake_and_without_one_the_next_is_used(folio, runs):
    with bind("127.0.0.1", None) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} is taken" in folio("serve", "--port", port).mistake
        done = folio("serve")
    assert int(re.search(r"127\.0\.0\.1:(\d+)", done.out)[1]) > port


def test_an_address_of_another_machine_is_a_mistake(folio, runs):
    assert "--host 192.0.2.1" in folio("serve", "--host", "192.0.2.1").mistake


def test_where_others_can_come_a_key_is_made_up_or_taken(folio, runs):
    keys = [
        re.search(r"^Key   (\S+)$", folio("serve", "--host", "0.0.0.0", "--port", "0").out, re.MULTILINE)[1]
        for _ in range(2)
    ]
    assert len(set(keys)) == 2
    own = folio("serve", "--host", "0.0.0.0", "--port", "0", "--api-key", "mine")
    assert "Key   mine\n" in own.out
    assert "Key   mine\n" in folio("serve", "--port", "0", "--api-key", "mine").out


def test_the_page_is_opened_where_that_is_asked_for(folio, runs, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    folio("serve", "--port", "0")
    assert opened == []
    done = folio("serve", "--port", "0", "--open")
    assert opened == [re.search(r"http://\S+", done.out)[0]]


def test_many_models_are_not_all_listed(folio, runs, finished):
    for n in range(14):
        shutil.copytree(finished, runs / f"run-{n:02}")
    done = folio("serve", "--port", "0")
    assert "and 4 more models" in done.out


def test_the_second_ctrl_c_is_an_interruption(folio, runs, monkeypatch):
    monkeypatch.setattr(Server, "run", lambda self, sockets: setattr(self, "was_forced", True))
    assert folio("serve", "--port", "0").code == 130


def test_help_names_the_flags(folio, capsys):
    with pytest.raises(SystemExit):
        folio("serve", "--help")
    text = capsys.readouterr().out
    for flag in ("--host", "--port", "--api-key", "--allow-training", "--memory", "--open"):
        assert flag in text


def test_wrong_flags_are_mistakes(folio, runs):
    assert "port is 99999" in folio("serve", "--port", "99999").mistake
    assert "unknown flag --prot" in folio("serve", "--prot", "1").mistake
