"""What the page starts are processes of their own, which are told, stopped, and found again."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from folio.errors import UserError
from folio.files import read_json
from folio.server import processes as module
from folio.server.processes import Processes, reason, tail

PATIENT = """
import sys, time
print("1 of 5: pretrain", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.3)
    sys.exit(130)
"""
"""A command that runs until Ctrl-C, and then saves."""


@pytest.fixture
def processes(tmp_path):
    (tmp_path / "runs").mkdir()
    processes = Processes(tmp_path / "runs")
    yield processes
    processes.close()


@pytest.fixture
def command(monkeypatch):
    """Puts a script in the place of folio's command."""
    return lambda script: monkeypatch.setattr(module, "BEGIN", script)


def wait_for(processes, state, name="poem"):
    deadline = time.monotonic() + 60
    while processes.find(name).state != state:
        assert time.monotonic() < deadline, processes.told(processes.find(name))
        time.sleep(0.05)
    return processes.told(processes.find(name))


def wait_for_log(processes, words):
    deadline = time.monotonic() + 60
    while not any(words in line for line in processes.told(processes.find("poem"))["log"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_of_two_who_start_at_once_one_is_refused(processes, command):
    command(PATIENT)

    def is_started(name):
        try:
            processes.start(name, ["run"])
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(is_started, ("poem", "tale"))) == [False, True]


def test_a_process_runs_until_it_is_stopped(processes, command):
    command(PATIENT)
    processes.start("poem", ["run"])
    wait_for_log(processes, "1 of 5: pretrain")
    told = wait_for(processes, "running")
    assert (told["name"], told["ended"], told["problem"]) == ("poem", None, "")
    assert "pid" not in told
    with pytest.raises(UserError, match="poem is being trained: stop it first"):
        processes.start("tale", [])
    processes.stop("poem")
    assert processes.find("poem").state == "stopping"
    assert wait_for(processes, "stopped")["code"] == 130
    with pytest.raises(UserError, match="is not being trained"):
        processes.stop("poem")


def test_what_ends_by_itself_is_finished_and_what_fails_says_why(processes, command):
    command("print('all done')")
    processes.start("poem", [])
    told = wait_for(processes, "finished")
    assert (told["log"], told["problem"]) == (["all done"], "")
    command("import sys; print('folio: the text is too short.', file=sys.stderr); sys.exit(2)")
    processes.start("tale", [])
    assert wait_for(processes, "failed", "tale")["problem"] == "the text is too short."
    assert [each.name for each in processes.all()] == ["tale", "poem"]


def test_another_server_finds_it_again_and_can_stop_it(processes, command):
    command(PATIENT)
    processes.start("poem", [])
    wait_for_log(processes, "1 of 5")
    other = Processes(processes.runs)
    assert other.find("poem").state == "running"
    with pytest.raises(UserError, match="is being trained"):
        other.start("tale", [])
    other.stop("poem")
    assert processes._own["poem"].wait(30) == 130
    assert wait_for(other, "stopped")["code"] is None, "nobody saw its exit code"


def test_a_process_of_the_same_number_is_not_taken_for_it(processes, command):
    command("pass")
    processes.start("poem", [])
    wait_for(processes, "finished")
    file = processes.folder / "poem.json"
    table = read_json(file)
    us = psutil.Process()
    file.write_text(json.dumps(table | {"pid": us.pid, "ended": None, "code": None}))
    other = Processes(processes.runs)
    with pytest.raises(UserError, match="is not being trained"):
        other.stop("poem")
    assert other.find("poem").state == "failed"


def test_the_end_of_the_server_stops_and_saves(processes, command):
    command(PATIENT)
    processes.start("poem", [])
    wait_for_log(processes, "1 of 5")
    processes.close()
    assert processes.find("poem").code == 130


def test_damaged_records_are_passed_over(processes):
    processes.folder.mkdir()
    (processes.folder / "poem.json").write_text("{")
    (processes.folder / "tale.json").write_text('{"more": 1}')
    assert processes.all() == []
    with pytest.raises(UserError, match="was not started here"):
        processes.find("poem")


def test_the_end_of_a_log(tmp_path):
    assert tail(tmp_path / "none") == []
    (tmp_path / "log").write_text("".join(f"line {n}\n" for n in range(5000)))
    lines = tail(tmp_path / "log")
    assert lines[-1] == "line 4999"
    assert all(line.startswith("line ") for line in lines)
    assert reason("folio: one\nother\nfolio: two") == "two"
    assert reason("other") == ""
