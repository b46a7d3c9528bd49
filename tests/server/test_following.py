"""Files that grow are read on, and files that were replaced are read anew."""

import json

import pytest

from folio.files import keep_before
from folio.server import following
from folio.server.following import Metrics, read_after


def record(step, **more):
    return {"step": step, "tokens": 64 * step, "train_seconds": 0.5 * step, "loss": 3.0, **more}


def append(path, *records):
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(each) + "\n" for each in records)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_only_what_is_new_is_read(path):
    assert read_after(path).records == []
    append(path, record(1), record(2))
    first = read_after(path)
    assert [each["step"] for each in first.records] == [1, 2]
    assert first.is_first
    assert first.is_last
    append(path, record(3))
    second = read_after(path, first.cursor)
    assert [each["step"] for each in second.records] == [3]
    assert not second.is_first
    assert read_after(path, second.cursor).records == []


def test_a_line_that_is_being_written_waits_and_a_damaged_one_is_passed_over(path):
    append(path, record(1))
    path.write_text(path.read_text() + 'no json\n[1]\n{"step": 2, "tok')
    piece = read_after(path)
    assert [each["step"] for each in piece.records] == [1]
    with path.open("a") as file:
        file.write('ens": 1}\n')
    assert read_after(path, piece.cursor).records == [{"step": 2, "tokens": 1}]


def test_a_file_that_was_replaced_is_read_from_the_start(path):
    append(path, *map(record, range(1, 6)))
    before = read_after(path)
    keep_before(path, 3)
    piece = read_after(path, before.cursor)
    assert piece.is_first
    assert [each["step"] for each in piece.records] == [1, 2]


@pytest.mark.parametrize(
    "cursor", ["x", "-", "1-2-3", "999-1", f"{2**70}-{2**70}", "1-²", "INODE-" + "0" * 15 + "9" * 20]
)
def test_a_cursor_of_no_file_is_one_of_the_start(path, cursor):
    append(path, record(1))
    cursor = cursor.replace("INODE", str(path.stat().st_ino))
    assert read_after(path, cursor).is_first
    assert len(read_after(path, cursor).records) == 1


def test_a_long_file_comes_in_pieces(path, monkeypatch):
    monkeypatch.setattr(following, "PIECE", 200)
    append(path, *map(record, range(1, 11)))
    path.write_text(path.read_text() + json.dumps(record(11, note="x" * 500)) + "\n")
    pieces = [read_after(path)]
    while not pieces[-1].is_last:
        pieces.append(read_after(path, pieces[-1].cursor))
    assert [each["step"] for piece in pieces for each in piece.records] == list(range(1, 12))
    assert len(pieces) > 2
    assert [piece.is_first for piece in pieces] == [True] + [False] * (len(pieces) - 1)


def test_metrics_keep_the_evaluations_and_the_last_steps(path, monkeypatch):
    monkeypatch.setattr(following, "PIECE", 1000)
    metrics = Metrics(path)
    metrics.update()
    assert (metrics.last, metrics.step_seconds, metrics.n_records) == ({}, None, 0)
    append(path, *(record(step, **({"val_loss": 2.0} if step % 10 == 0 else {})) for step in range(1, 41)))
    metrics.update()
    assert [each["step"] for each in metrics.evaluated] == [10, 20, 30, 40]
    assert metrics.last["step"] == 40
    assert metrics.step_seconds == 0.5
    assert len(metrics.recent) == following.RECENT
    append(path, record(41))
    metrics.update()
    assert metrics.n_records == 41
    keep_before(path, 15)
    metrics.update()
    assert ([each["step"] for each in metrics.evaluated], metrics.n_records) == ([10], 14)


def test_what_is_no_record_of_a_step_is_no_metric(path):
    append(path, record(1), {"step": "one"}, {**record(2), "loss": "low"}, record(3))
    metrics = Metrics(path)
    metrics.update()
    assert (metrics.n_records, metrics.last["step"]) == (2, 3)
