"""Trainings that the page starts are processes of their own, which are told, stopped, and found again."""

import asyncio
import json
import time

import psutil
import pytest

from folio.errors import UserError
from folio.files import read_json
from folio.runs.directory import RunDirectory
from folio.server import trainings as module
from folio.server.trainings import Trainings, reason, tail

PATIENT = """
import sys, time
print("── 1 of 5: pretrain ──", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.3)
    sys.exit(130)
"""
"""A command that runs until Ctrl-C, and then saves."""


@pytest.fixture
def trainings(tmp_path):
    trainings = Trainings(tmp_path / "runs")
    trainings.texts.keep("poem.txt", "one two three " * 30)
    trainings.texts.keep("tale.txt", "four five six " * 30)
    yield trainings
    trainings.close()


@pytest.fixture
def command(monkeypatch):
    """Puts a script in the place of folio's command."""
    return lambda script: monkeypatch.setattr(module, "START", script)


def wait_for(trainings, state, text="poem"):
    deadline = time.monotonic() + 60
    while trainings.state(trainings.find(text)) != state:
        assert time.monotonic() < deadline, trainings.told(trainings.find(text))
        time.sleep(0.05)
    return trainings.told(trainings.find(text))


def wait_for_log(trainings, words):
    deadline = time.monotonic() + 60
    while not any(words in line for line in trainings.told(trainings.find("poem"))["log"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_training_runs_until_it_is_stopped(trainings, command):
    command(PATIENT)
    trainings.start("poem", 5.0)
    wait_for_log(trainings, "1 of 5: pretrain")
    told = wait_for(trainings, "running")
    assert (told["text"], told["minutes"], told["stage"]) == ("poem", 5.0, "── 1 of 5: pretrain ──")
    with pytest.raises(UserError, match="poem is being trained: stop it first"):
        trainings.start("tale", None)
    trainings.stop("poem")
    assert trainings.state(trainings.find("poem")) == "stopping"
    assert wait_for(trainings, "stopped")["code"] == 130
    with pytest.raises(UserError, match="is not being trained"):
        trainings.stop("poem")


def test_what_ends_by_itself_is_finished_and_what_fails_says_why(trainings, command):
    command("print('all done')")
    trainings.start("poem", None)
    told = wait_for(trainings, "finished")
    assert (told["log"], told["problem"]) == (["all done"], "")
    command("import sys; print('folio: the text is too short.', file=sys.stderr); sys.exit(2)")
    trainings.start("tale", None)
    assert wait_for(trainings, "failed", "tale")["problem"] == "the text is too short."
    assert [each.text for each in trainings.all()] == ["tale", "poem"]


def test_the_command_is_folios_own_and_knows_where_to_write(trainings, command):
    command("import json, sys; print(json.dumps(sys.argv[1:]))")
    trainings.start("poem", 2.5)
    arguments = json.loads(wait_for(trainings, "finished")["log"][0])
    runs = trainings.runs.resolve()
    assert arguments == [
        *("run", str(runs / "texts" / "poem.txt"), "--runs", str(runs), "--minutes", "2.5", "--no-chat")
    ]


def test_another_server_finds_it_again_and_can_stop_it(trainings, command):
    command(PATIENT)
    trainings.start("poem", None)
    wait_for_log(trainings, "1 of 5")
    other = Trainings(trainings.runs)
    assert other.state(other.find("poem")) == "running"
    with pytest.raises(UserError, match="is being trained"):
        other.start("tale", None)
    other.stop("poem")
    assert trainings._processes["poem"].wait(30) == 130
    assert wait_for(other, "stopped")["code"] is None, "nobody saw its exit code"


def test_a_process_of_the_same_number_is_not_taken_for_it(trainings, command):
    command("pass")
    trainings.start("poem", None)
    wait_for(trainings, "finished")
    file = trainings.texts.folder / "poem.json"
    table = read_json(file)
    us = psutil.Process()
    file.write_text(json.dumps(table | {"pid": us.pid, "ended": None, "code": None}))
    other = Trainings(trainings.runs)
    with pytest.raises(UserError, match="is not being trained"):
        other.stop("poem")
    assert other.state(other.find("poem")) == "failed"


def test_the_end_of_the_server_stops_and_saves(trainings, command):
    command(PATIENT)
    trainings.start("poem", None)
    wait_for_log(trainings, "1 of 5")
    trainings.close()
    assert trainings.find("poem").code == 130


def test_damaged_records_are_passed_over(trainings):
    (trainings.texts.folder / "poem.json").write_text("{")
    (trainings.texts.folder / "tale.json").write_text('{"more": 1}')
    assert trainings.all() == []
    with pytest.raises(UserError, match="was not trained here"):
        trainings.find("poem")


def test_a_text_that_is_not_there_is_not_started(trainings):
    with pytest.raises(UserError, match="there is no text"):
        trainings.start("../poem", None)


def test_a_plan_is_what_the_command_tells(trainings, command):
    command('import json; print(json.dumps({"stages": [], "told": {"model": "small"}}))')
    assert asyncio.run(trainings.plan("poem", 3.0)) == {"stages": [], "told": {"model": "small"}}
    command("import sys; print('Timing', file=sys.stderr); print('folio: no.', file=sys.stderr); sys.exit(2)")
    with pytest.raises(UserError, match=r"^no\.$"):
        asyncio.run(trainings.plan("poem", None))


def test_a_newer_plan_takes_the_place_of_an_older_one(trainings, command):
    async def both():
        command("import time; time.sleep(60)")
        older = asyncio.create_task(trainings.plan("poem", 1.0))
        while trainings._planning is None:
            await asyncio.sleep(0.01)
        command('print("{}")')
        newer = await trainings.plan("poem", 2.0)
        with pytest.raises(UserError, match="another plan was asked for"):
            await older
        return newer

    assert asyncio.run(both()) == {}


def test_a_plan_takes_no_longer_than_its_time(trainings, command, monkeypatch):
    monkeypatch.setattr(module, "PLAN_SECONDS", 0.2)
    command("import time; time.sleep(60)")
    with pytest.raises(UserError, match="took too long"):
        asyncio.run(trainings.plan("poem", None))
    assert trainings._planning.returncode is not None


def test_the_end_of_a_log(tmp_path):
    assert tail(tmp_path / "none") == []
    (tmp_path / "log").write_text("".join(f"line {n}\n" for n in range(5000)))
    lines = tail(tmp_path / "log")
    assert lines[-1] == "line 4999"
    assert all(line.startswith("line ") for line in lines)
    assert reason("folio: one\nother\nfolio: two") == "two"
    assert reason("other") == ""


@pytest.mark.slow
def test_a_real_training_is_stopped_with_all_saved_and_gone_on_with(trainings):
    trainings.start("poem", 10.0)
    run = RunDirectory(trainings.runs / "poem")
    deadline = time.monotonic() + 200
    while not run.metrics_file.exists():
        assert time.monotonic() < deadline, trainings.told(trainings.find("poem"))
        time.sleep(0.2)
    trainings.stop("poem")
    wait_for(trainings, "stopped")
    assert run.read_info()["status"] == "interrupted"
    step = max(run.models())
    assert step == run.read_metrics()[-1]["step"]
    assert trainings.told(trainings.find("poem"))["outputs"] == ["poem"]
