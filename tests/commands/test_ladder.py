import json
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from folio.commands.ladder import FULL, LECTURE_LOSSES, LadderConfig, size_of
from folio.files import read_lines
from folio.lecture.ladder import LADDER, LAPTOP, LECTURE
from folio.report.ladder import TABLE_WIDTH, Result, Row, show_ladder
from folio.runs.directory import RunDirectory

FIELDS = ["rung", "added", "parameters", "val_loss", "seconds", "lecture_loss"]
SMALL = ("--n-embd", "8", "--n-head", "2", "--n-layer", "1", "--block-size", "4", "--batch-size", "2")


@pytest.fixture
def climb(folio, text_file, run):
    """Runs `folio ladder` on the tiny text, with tiny sizes, into `run`; later flags win."""
    return lambda *flags: folio("ladder", "--data", text_file, "--run", run, *SMALL, "--steps", 4, *flags)


@pytest.fixture
def table(run):
    return lambda: json.loads((run / "ladder.json").read_text())


@pytest.mark.slow
def test_all_rungs_are_trained_and_shown(climb, run, table):
    outcome = climb()
    assert outcome.code == 0, outcome.err
    rows = table()
    assert [row["rung"] for row in rows] == list(LADDER)
    assert all(list(row) == FIELDS for row in rows)
    assert all(math.isfinite(row["val_loss"]) and row["seconds"] >= 0 for row in rows)
    assert (run / "ladder.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    for row in rows:
        assert row["added"] in " ".join(outcome.out.split())
        assert outcome.out.count(row["rung"]) >= 3  # as it ends, in the table, and beside its lines


def test_some_rungs_can_be_picked_in_the_ladders_order(climb, table):
    assert climb("--rungs", " single_head,bigram").code == 0
    assert [row["rung"] for row in table()] == ["bigram", "single_head"]
    assert [row["lecture_loss"] for row in table()] == [2.5, 2.4]


def test_training_helps(climb, table):
    assert climb("--rungs", "bigram,layer_norm", "--steps", 300, "--learning-rate", "0.03").code == 0
    n_characters = 20
    assert all(row["val_loss"] < 0.8 * math.log(n_characters) for row in table())


def test_seeds_give_a_mean_and_a_standard_deviation(climb, run, table):
    outcome = climb("--rungs", "position", "--seeds", 3)
    losses = [line["val_loss"] for line in read_lines(run / "results.jsonl")]
    assert len(set(losses)) == 3
    (row,) = table()
    assert row["val_loss"] == pytest.approx(sum(losses) / 3, abs=1e-4)
    assert " ± " in outcome.out


def test_the_same_seed_gives_the_same_rung(folio, text_file, tmp_path):
    for name in ("one", "two"):
        folio(
            "ladder",
            "--data",
            text_file,
            "--run",
            tmp_path / name,
            *SMALL,
            "--steps",
            4,
            "--rungs",
            "dropout",
        )
    one, two = (read_lines(tmp_path / name / "results.jsonl")[0] for name in ("one", "two"))
    assert {**one, "seconds": 0} == {**two, "seconds": 0}


def test_rungs_that_are_done_are_kept(climb, run, table, monkeypatch):
    from folio.commands import ladder

    trained = []
    whole = ladder.train

    def until_the_head(trial, *rest):
        trained.append(trial.rung)
        if trial.rung == "single_head" and trained.count(trial.rung) == 1:
            raise KeyboardInterrupt
        return whole(trial, *rest)

    monkeypatch.setattr("folio.commands.ladder.train", until_the_head)
    outcome = climb("--rungs", "bigram,position,single_head")
    assert outcome.code == 130
    assert f"folio ladder --run {run} --resume" in " ".join(outcome.err.split())
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    assert [row["rung"] for row in table()] == ["bigram", "position"]
    again = climb("--rungs", "bigram,position,single_head")
    assert "--resume" in again.mistake
    assert climb("--resume").code == 0
    assert [row["rung"] for row in table()] == ["bigram", "position", "single_head"]
    assert trained == ["bigram", "position", "single_head", "single_head"]


def test_a_finished_ladder_is_shown_again(climb):
    climb("--rungs", "bigram")
    outcome = climb("--rungs", "bigram")
    assert outcome.code == 0
    assert "already finished" in outcome.out
    assert "Training" not in outcome.out


def test_without_a_directory_the_first_free_one_is_taken(folio, text_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert folio("ladder", "--data", text_file, *SMALL, "--steps", 2, "--rungs", "bigram").code == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["ladder", "ladder-2"]


@pytest.mark.parametrize("columns", [40, 60, TABLE_WIDTH - 1, TABLE_WIDTH, 160])
def test_the_table_fits_the_terminal(columns):
    """With the longest of everything: all rungs, a spread, the lecture's size and hours of training."""
    rows = [
        Row(name, rung.added, LECTURE_LOSSES.get(name), 5000,
            [Result(rung=name, seed=seed, parameters=10_788_929, val_loss=2.4 + seed, seconds=36_000.0, text="a\nb")
             for seed in (1, 2)])
        for name, rung in LADDER.items()
    ]  # fmt: skip
    console = Console(width=columns, file=StringIO(), emoji=False, markup=False, highlight=False)
    show_ladder(rows, console)
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= columns
    assert "…" not in shown
    for row in rows:
        assert " ".join(row.added.split()) in " ".join(shown.split())
    assert shown.count("10,788,929") == len(rows)


def test_the_change_is_that_from_the_rung_below(climb, run):
    out = climb("--rungs", "bigram,position").out
    first, second = (line["val_loss"] for line in read_lines(run / "results.jsonl"))
    assert f"({second - first:+.3f})" in out


def test_the_lectures_losses_are_those_of_rungs():
    assert set(LECTURE_LOSSES) <= set(LADDER)
    assert FULL == {LAPTOP: LECTURE}


def test_the_lectures_size_is_asked_for_with_full():
    small, full = (LadderConfig(full=full) for full in (False, True))
    assert size_of(LADDER["muon"], small) == LAPTOP
    assert size_of(LADDER["muon"], full) == LECTURE
    assert size_of(LADDER["dropout"], full) == LADDER["dropout"].size
    assert size_of(LADDER["muon"], replace(full, n_layer=2)) == replace(LECTURE, n_layer=2)


def test_results_cut_off_by_a_kill_are_measured_again(climb, run, table):
    climb("--rungs", "bigram,position")
    results = run / "results.jsonl"
    whole = results.read_bytes()
    results.write_bytes(whole[:-40])
    RunDirectory(run).set_status("running")
    assert climb("--resume").code == 0
    assert [row["rung"] for row in table()] == ["bigram", "position"]
    assert [line["rung"] for line in read_lines(results)] == ["bigram", "position"]


def test_results_that_are_gone_are_told(climb, run):
    climb("--rungs", "bigram")
    (run / "results.jsonl").write_bytes(b"{")
    assert "has no results" in climb("--rungs", "bigram").mistake


def test_losses_of_other_sizes_do_not_mix(climb, run):
    climb("--rungs", "bigram")
    plan = RunDirectory(run).read_info()["plan"]
    plan["bigram"]["steps"] += 1
    RunDirectory(run).set_status("interrupted", plan=plan)
    assert "other sizes" in climb("--rungs", "bigram", "--resume").mistake


def test_a_directory_belongs_to_one_stage(folio, climb, finished, run, text_file):
    assert "was made by folio pretrain" in folio("ladder", "--run", finished).mistake
    climb("--rungs", "bigram")
    assert "was made by folio ladder" in folio("pretrain", "--run", run, "--data", text_file).mistake
    assert "is a ladder" in folio("sample", run).mistake


MISTAKES = {
    "unknown rung": (
        ["--rungs", "bigrm"],
        "Did you mean bigram? Known: bigram, position, single_head",
    ),
    "unlike any rung": (["--rungs", "bigram,xyz"], "'xyz'. Known: bigram"),
    "no steps": (["--steps", "0"], "steps is 0: it must be at least 1"),
    "no seeds": (["--seeds", "0"], "seeds is 0"),
    "learning rate": (["--learning-rate", "0"], "learning_rate is 0"),
    "not a rate": (["--learning-rate", "nan"], "learning_rate is nan"),
    "dropout": (["--dropout", "1"], "dropout is 1"),
    "heads": (["--n-embd", "10", "--n-head", "4"], "n_embd must be a multiple of twice n_head"),
    "long block": (["--block-size", "100000"], "needs at least 100,001"),
    "no file": (["--data", "nothing.txt"], "nothing.txt"),
}


@pytest.mark.parametrize(("flags", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_in_one_line_and_leave_nothing_behind(climb, run, flags, told):
    assert told in climb(*flags).mistake
    assert not run.exists()


def test_resuming_wants_a_name(folio):
    assert "--run" in folio("ladder", "--resume").mistake


def test_another_text_is_no_continuation(climb, run, text_file, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("folio.commands.ladder.train", interrupted)
    assert climb().code == 130
    text_file.write_text(text_file.read_text() + "more\n")
    assert "another text" in climb("--resume").mistake


def test_a_diverging_rung_is_told(climb, run):
    outcome = climb("--rungs", "residual", "--learning-rate", "1e6", "--steps", 50)
    assert "lower --learning-rate" in outcome.mistake
    assert json.loads((run / "run.json").read_text())["status"] == "failed"


def test_a_few_steps_are_told_to_be_too_few(climb):
    assert "steps are too few" in " ".join(climb("--rungs", "bigram").out.split())


def test_a_text_without_line_ends_will_do(folio, tmp_path, run):
    (tmp_path / "plain.txt").write_text("to be or not to be " * 50)
    outcome = folio(
        "ladder", "--data", tmp_path / "plain.txt", "--run", run, *SMALL, "--steps", 2, "--rungs", "bigram"
    )
    assert outcome.code == 0
