"""Trainings of texts are processes of their own, planned first."""

import asyncio
import json
import time

import psutil
import pytest

from folio.errors import UserError
from folio.runs.directory import RunDirectory
from folio.server import processes
from folio.server import trainings as module
from folio.server.trainings import Trainings


@pytest.fixture
def trainings(tmp_path):
    trainings = Trainings(tmp_path / "runs")
    trainings.texts.keep("poem.txt", "one two three " * 30)
    yield trainings
    trainings.processes.close()


@pytest.fixture
def command(monkeypatch):
    """Puts a script in the place of folio's command."""
    return lambda script: monkeypatch.setattr(processes, "BEGIN", script)


def wait_for(trainings, state):
    deadline = time.monotonic() + 60
    while trainings.processes.find("poem").state != state:
        assert time.monotonic() < deadline, trainings.processes.told(trainings.processes.find("poem"))
        time.sleep(0.05)
    return trainings.processes.told(trainings.processes.find("poem"))


def test_the_command_is_folios_own_and_knows_where_to_write(trainings, command):
    command("import json, sys; print(json.dumps(sys.argv[1:]))")
    trainings.start("poem", 2.5)
    arguments = json.loads(wait_for(trainings, "finished")["log"][0])
    runs = trainings.runs.resolve()
    assert arguments == [
        *("run", str(runs / "texts" / "poem.txt"), "--runs", str(runs), "--minutes", "2.5", "--no-chat")
    ]


def test_a_process_whose_first_thread_has_ended_still_runs(trainings, command, monkeypatch):
    command("import time; time.sleep(60)")
    trainings.start("poem", 1.0)
    monkeypatch.setattr(psutil.Process, "status", lambda process: psutil.STATUS_ZOMBIE)
    assert trainings.processes.find("poem").state == "running"
    monkeypatch.undo()


def test_a_text_that_is_not_there_is_not_started(trainings):
    with pytest.raises(UserError, match="there is no text"):
        trainings.start("../poem", None)
    with pytest.raises(UserError, match="there is no text"):
        asyncio.run(trainings.plan("../poem", None))


def test_what_a_training_has_made_so_far(trainings):
    for name in ("poem", "poem-sft", "poems"):
        (trainings.runs / name).mkdir()
    assert trainings.runs_of("poem") == ["poem", "poem-sft"]


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


@pytest.mark.slow
def test_a_real_training_is_stopped_with_all_saved_and_gone_on_with(trainings):
    trainings.start("poem", 10.0)
    run = RunDirectory(trainings.runs / "poem")
    deadline = time.monotonic() + 200
    while not run.metrics_file.exists():
        assert time.monotonic() < deadline, trainings.processes.told(trainings.processes.find("poem"))
        time.sleep(0.2)
    trainings.processes.stop("poem")
    wait_for(trainings, "stopped")
    assert run.read_info()["status"] == "interrupted"
    step = max(run.models())
    # A step that is saved and not yet evaluated is recorded when the run goes on.
    assert run.read_metrics()[-1]["step"] in (step - 1, step)
    assert trainings.runs_of("poem") == ["poem"]
