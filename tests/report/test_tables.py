"""What all results have in common: evaluations, costs, tables, next commands."""

import io
import json

import pytest
from rich.console import Console
from rl_runs import write_lines

from folio.errors import UserError
from folio.report.tables import kept_evaluation, show_next, show_table
from folio.runs.directory import RunDirectory

INFO = {"format": 2, "status": "finished", "config": {}, "runtime": {}, "plan": {}, "data_sha256": ""}

STEP = {"tokens": 64, "train_seconds": 0.5, "loss": 3.0}


def run_with(folder, losses):
    records = [
        STEP | {"step": i} | ({} if loss is None else {"val_loss": loss}) for i, loss in enumerate(losses, 1)
    ]
    write_lines(folder / "metrics.jsonl", records)
    (folder / "run.json").write_text(json.dumps({**INFO, "stage": "sft"}))
    return RunDirectory(folder)


def test_the_evaluation_of_the_kept_model_is_the_lowest(tmp_path):
    run = run_with(tmp_path, [None, 3.0, None, 2.0, 2.5])
    assert kept_evaluation(run) == STEP | {"step": 4, "val_loss": 2.0}


def test_a_run_without_one_is_damaged(tmp_path):
    with pytest.raises(UserError, match="holds no evaluation"):
        kept_evaluation(run_with(tmp_path, [None, None]))


def test_long_values_wrap_and_commands_do_not():
    console = Console(file=io.StringIO(), width=20)
    show_table({"name": "word " * 10}, console)
    show_next(["folio " + "x" * 30], console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines[:-1])) <= 20
    assert lines[-1] == "  folio " + "x" * 30
    assert lines[0].startswith("name  word")


def test_long_names_leave_room_for_what_is_said_of_them():
    out = io.StringIO()
    console = Console(file=out, width=40)
    show_table(
        {"a/very/long/path/to/a/file.jsonl": "12.5 bits per byte, and some more words", "b": "1"}, console
    )
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "a/very/long/path/to/a/file.jsonl",
        "  12.5 bits per byte, and some more",
        "  words",
        "b",
        "  1",
    ]
