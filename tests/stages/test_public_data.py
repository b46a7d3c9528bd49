"""Data in the forms in which others give it, through every stage that reads some; the recipe math on small models."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import TINY
from tiny_rl import PAIRS, POLICY, QUICK, make_function, make_pairs

from folio.files import read_lines

TALKS = [{"question": "the", "answer": ("a m", "no!", "cat")[i % 3], "id": i} for i in range(40)]
PROBLEMS = [{"question": f"What is {i} and {i + 1}?", "answer": f"#### {2 * i + 1}"} for i in range(40)]


def table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """A data folder that lies elsewhere than the current one."""
    monkeypatch.setenv("FOLIO_DATA", str(tmp_path / "elsewhere"))
    return tmp_path / "elsewhere"


def origin(run):
    return json.loads((run / "run.json").read_text())["data"]


def told(outcome):
    return " ".join(outcome.out.split())


def test_conversations_and_prompts_come_from_tables_in_a_data_folder(folio, finished, data_folder, tmp_path):
    path = table(data_folder / "talks/all.parquet", TALKS)
    run = tmp_path / "sft"
    outcome = folio(
        "sft",
        finished,
        "--data",
        "talks/all.parquet",
        "--run",
        run,
        *QUICK,
        "--epochs",
        "1",
        "--prompt",
        "the",
    )
    assert outcome.code == 0, outcome.err
    assert path.name in told(outcome)
    assert origin(run).endswith(path.name)
    shown = folio("data", "show", "talks", "--run", run)
    assert f"Conversation 1 ({path}, row 1)" in shown.out
    reward = make_function(tmp_path / "reward.py")
    flags = (
        "--data",
        "talks",
        "--reward",
        f"{reward}:f",
        "--run",
        tmp_path / "grpo",
        *POLICY,
        "--group-size",
        "4",
    )
    outcome = folio("grpo", run, *flags)
    assert outcome.code == 0, outcome.err
    assert "36 for training, 4 held out" in told(outcome)
    assert origin(tmp_path / "grpo").endswith("talks")


@pytest.mark.parametrize("stage", ["reward", "dpo"])
def test_pairs_come_from_tables_and_what_is_left_out_is_told(folio, finished, data_folder, tmp_path, stage):
    rows = read_lines(make_pairs(tmp_path / "pairs.jsonl"))
    path = table(data_folder / "pairs.parquet", [*rows, {**rows[0], "rejected": rows[0]["chosen"]}])
    outcome = folio(stage, finished, "--data", "pairs.parquet", "--run", tmp_path / stage, *PAIRS)
    assert outcome.code == 0, outcome.err
    assert "1 of 41 rows left out" in told(outcome)
    assert f"{path}, row 41: chosen and rejected are the same" in origin(tmp_path / stage)


def test_the_recipes_for_word_problems_work_from_a_small_model(folio, data_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # recipes work from any folder
    for part, rows in (("train", PROBLEMS[:32]), ("test", PROBLEMS[32:])):
        path = data_folder / f"math/gsm8k_{part}.jsonl"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = tmp_path / "text.txt"
    asked = "Tom has 3 boxes with 12 pencils each. He gives away 7 pencils. How many pencils are left?"
    text.write_text("\n".join(asked + row["question"] + row["answer"] for row in PROBLEMS) + "0123456789")
    runs = [tmp_path / name for name in ("pretrain", "sft", "grpo")]
    assert folio("pretrain", "--data", text, "--run", runs[0], *TINY, "--block-size", "64").code == 0
    outcome = folio("sft", "math", runs[0], "--run", runs[1], *QUICK, "--epochs", "1", "--block-size", "40")
    assert outcome.code == 0, outcome.err
    assert "32 for training, 8 held out" in told(outcome)
    flags = ("--rollouts", "2", "--rollout-size", "8", "--group-size", "4", "--minibatch-size", "8")
    more = ("--max-new-tokens", "16", "--validation-prompts", "8")
    outcome = folio("grpo", "math", runs[1], "--run", runs[2], *QUICK, *flags, *more)
    assert outcome.code == 0, outcome.err
    assert all(
        0 <= record["val_reward"] <= 1
        for record in read_lines(runs[2] / "metrics.jsonl")
        if "val_reward" in record
    )
