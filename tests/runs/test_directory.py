"""The run directory: one owner, and info that is whole."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from folio.errors import FolioWarning, UserError
from folio.runs.directory import RunDirectory, run_around

INFO = {
    "format": 2,
    "status": "running",
    "stage": "pretrain",
    "config": {},
    "plan": {},
    "runtime": {},
    "data_sha256": "",
    "peak_memory": 0,
}


def test_a_run_begins_with_its_info(tmp_path):
    run = RunDirectory(tmp_path / "a" / "b")
    assert not run.exists
    with run.owned():
        assert not run.exists
        run.write_info(INFO | {"text": "é"})
        assert run.exists
        run.set_status("finished", peak_memory=3)
        assert run.read_info() == INFO | {"text": "é", "status": "finished", "peak_memory": 3}
    assert {path.name for path in run.path.iterdir()} - {".lock"} == {"run.json"}


HOLD = """
import sys
from pathlib import Path
from folio.runs.directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).owned():
    print("owned", flush=True)
    sys.stdin.read()
"""


def test_two_processes_cannot_own_one_run(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "owned\n"
        run = RunDirectory(tmp_path)
        with pytest.raises(UserError, match="in use by another process"), run.owned():
            pass
        other.kill()  # a lock must not outlive its owner
        other.wait()
        with run.owned():
            pass


def test_what_is_released_can_be_owned_again(tmp_path):
    first, second = RunDirectory(tmp_path), RunDirectory(tmp_path)
    with first.owned(), pytest.raises(UserError, match="in use"), second.owned():
        pass
    with second.owned():
        pass


def test_a_directory_in_which_nothing_was_begun_is_not_left_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), RunDirectory(tmp_path / "run").owned():
        1 / 0  # noqa: B018
    assert not (tmp_path / "run").exists()


def test_what_appears_in_a_directory_is_never_deleted(tmp_path):
    """Where no run was begun, or its info is out of sight for a moment, as on a shared disk."""
    run = RunDirectory(tmp_path / "run")
    with run.owned():
        (run.path / "thesis.doc").write_text("mine")
    assert (run.path / "thesis.doc").exists()


def test_a_directory_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.doc").write_text("mine")
    mistake = pytest.raises(UserError, match=r"holds other files \(thesis\.doc\)")
    with mistake, RunDirectory(tmp_path).owned():
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.doc"}


def test_a_run_killed_before_it_began_is_begun_anew(tmp_path):
    """It had its lock, and perhaps the beginning of its info."""
    for name in (".lock", ".run.json.writing"):
        (tmp_path / name).write_text("")
    run = RunDirectory(tmp_path)
    with run.owned():
        run.write_info(INFO)
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"run.json"}


def test_a_path_that_can_be_no_directory_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / ("x" * 300)):
        run = RunDirectory(path)
        assert not run.exists
        with pytest.raises(UserError, match="cannot be written"), run.owned():
            pass


def test_a_best_model_half_replaced_is_healed(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(INFO))
    (tmp_path / ".best.previous").mkdir()
    run = RunDirectory(tmp_path)
    with run.owned():
        assert run.best.is_dir()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"{}", b'{"status": "running"}'])
def test_damaged_info_is_named(tmp_path, content):
    run = RunDirectory(tmp_path)
    run.info_file.write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json .*damaged"):
        run.read_info()


@pytest.mark.parametrize("change", [{"peak_memory": 1}, {"status": "finished"}, {"more": 1}, {"sha256": "x"}])
def test_info_that_was_changed_by_another_hand_is_named(tmp_path, change):
    """A resumed run would follow it."""
    run = RunDirectory(tmp_path)
    run.write_info(INFO | {"text": "é", "loss": 0.1 + 0.2})
    info = json.loads(run.info_file.read_text())
    run.info_file.write_text(json.dumps(info | change))
    with pytest.raises(UserError, match=r"run\.json has changed since it was written"):
        run.read_info()
    del info["sha256"]
    run.info_file.write_text(json.dumps({**info, "peak_memory": 1}))
    assert run.read_info()["peak_memory"] == 1


STEP = {"tokens": 64, "train_seconds": 0.5, "loss": 3.0}


def test_damaged_metrics_and_missing_steps_are_told(tmp_path):
    run = RunDirectory(tmp_path)
    lines = [json.dumps({"step": step, **STEP}) for step in range(1, 10) if step not in {4, 6, 7}]
    lines[1] = json.dumps({"step": 2, "tokens": 64, "train_sekonds": 0.5, "loss": 3.0})
    lines[2] = json.dumps({"step": 3, **STEP, "val_loss": "low"})
    run.metrics_file.write_text("\n".join(lines) + "\n")
    with pytest.warns(FolioWarning) as told:
        assert [record["step"] for record in run.read_metrics()] == [1, 5, 8, 9]
    assert [str(each.message) for each in told] == [
        f"{run.metrics_file}: 2 lines (2-3) cannot be read: left out.",
        f"{run.metrics_file} lacks 5 steps (2-4, 6-7).",
    ]


def test_the_run_around_a_model_is_known(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    for place in (run.best, run.checkpoint(3)):
        place.mkdir(parents=True)
        assert run_around(place) is None
    run.write_info(INFO)
    monkeypatch.chdir(run.best)
    for place in (run.best, run.checkpoint(3), Path()):
        assert run_around(place) == run.path.resolve()
    assert run_around(run.path) is None


def full_disk(*arguments: object, **more: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_and_leaves_the_info(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path)
    run.write_info(INFO)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UserError, match="No space left on device"):
        run.set_status("finished")
    assert run.read_info() == INFO
