"""`folio rl-report`: what a person is told of runs."""

import json
import shutil
from pathlib import Path

import pytest
from rl_runs import write_lines, write_run

from folio.files import read_lines
from folio.runs.directory import RunDirectory
from folio.stages.policy import draw_rollouts


@pytest.fixture
def ppo(tmp_path) -> Path:
    return write_run(tmp_path / "ppo")


def test_a_healthy_run(folio, ppo, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    done = folio("rl-report", ppo)
    assert (done.code, done.err) == (0, "")
    words = " ".join(done.out.split())
    for told in (
        f"{ppo}: ppo, finished",
        "rollouts 40 of 40",
        "kl_coef 0.05",
        "gold reward held out 0.550 to 0.700",
        "No problems found",
        "KL 5.4 nats per answer, 0.09 per token; on first steps",
        "> Where is the king?",
        f"figure {ppo}/rl.png",
    ):
        assert told in words
    assert (ppo / "rl.png").read_bytes().startswith(b"\x89PNG")
    assert "\x1b" not in done.out, "a pipe gets no colors"


def test_a_sick_run(folio, tmp_path):
    run = write_run(tmp_path / "grpo", "grpo", entropy=lambda share, _: 1.3 - 1.2 * share, kl=lambda *_: -1.0)
    out = folio("rl-report", run).out
    assert out.index("fault  The KL is negative") < out.index("warning  The entropy has collapsed")
    assert out.count("Do: ") == 2
    assert "No problems found" not in out


def test_samples_of_the_first_and_last_evaluation_stand_side_by_side(folio, ppo, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    lines = folio("rl-report", ppo).out.splitlines()
    at = lines.index("> What is thy name?")
    assert lines[at + 1].split() == ["step", "8", "step", "80"]
    assert lines[at + 2].split("  ")[0] == "An answer of step 8."
    assert lines[at + 2][50:].strip() == "An answer of step 80."
    monkeypatch.setenv("COLUMNS", "40")
    lines = [line.rstrip() for line in folio("rl-report", ppo).out.splitlines()]
    at = lines.index("> What is thy name?")
    assert lines[at + 1 : at + 5] == ["step 8", "An answer of step 8.", "step 80", "An answer of step 80."]


def test_it_fits_into_a_narrow_terminal(folio, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")
    runs = [write_run(Path(f"p{n}"), kl_coef=n / 10, entropy=lambda share, _: 1 - share) for n in range(3)]
    for arguments in (runs[:1], runs):
        out = folio("rl-report", *arguments).out
        assert max(map(len, out.splitlines())) <= 40


def test_an_unfinished_run(folio, ppo):
    write_lines(ppo / "metrics.jsonl", read_lines(ppo / "metrics.jsonl")[:5])
    with (ppo / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "roll')  # it is being written
    (ppo / "samples.jsonl").unlink()
    info = json.loads((ppo / "run.json").read_text())
    (ppo / "run.json").write_text(json.dumps({**info, "status": "running"}))
    done = folio("rl-report", ppo)
    assert done.code == 0
    assert "3 of 40" in done.out
    assert "too few to see a trend" in done.out
    assert (ppo / "rl.png").exists()


def test_the_picture_goes_where_it_is_told(folio, ppo, tmp_path):
    assert folio("rl-report", ppo, "--png", tmp_path / "here.png").code == 0
    assert (tmp_path / "here.png").exists()
    assert not (ppo / "rl.png").exists()


def test_a_finished_run_has_its_picture(ppo):
    draw_rollouts(RunDirectory(ppo))
    assert (ppo / "rl.png").exists()


def test_several_runs_are_compared(folio, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fooled = write_run(Path("a"), kl_coef=0.01, val_gold=lambda share, _: 0.5 + share * (1.2 - 1.2 * share))
    held = write_run(Path("b"), kl_coef=0.2)
    done = folio("rl-report", held, fooled)
    names, *lines = done.out.splitlines()
    assert names.split() == ["kl_coef", "0.01", "kl_coef", "0.2"], "held least first"
    rows = {line[:13].strip(): line[13:].split() for line in lines}
    assert rows["KL"] == ["6.0", "6.0"]
    assert rows["gold"] == ["+0.00", "+1.00"]
    assert rows["best gold"] == ["+2.00", "+1.00"]
    assert rows["at rollout"] == ["20", "40"]
    assert rows["overoptimized"] == ["yes", "no"]
    assert Path("overoptimization.png").read_bytes().startswith(b"\x89PNG")
    assert folio("rl-report", held, fooled, "--png", "other.png").code == 0
    assert Path("other.png").exists()


# Mistakes


def damage(run: Path, number: int, line: str) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    lines[number - 1] = line
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ('{"step": 3', 3),
        ("5", 3),
        ('{"step": 3}', 3),
        ('{"step": 3, "rollout": 2, "kl": "x"}', 3),
        ("null", 80),
    ],
)
def test_a_damaged_line_is_named_and_left_out(folio, ppo, line, number):
    damage(ppo, number, line)
    outcome = folio("rl-report", ppo)
    assert outcome.code == 0
    assert f"metrics.jsonl: line {number} cannot be read: left out." in outcome.err


def test_what_is_no_run_to_report_on(folio, ppo, finished, tmp_path):
    assert "name a run" in folio("rl-report").mistake
    assert "nowhere: no such run" in folio("rl-report", tmp_path / "nowhere").mistake
    assert (
        "made by folio pretrain: rl-report reads runs of ppo and grpo" in folio("rl-report", finished).mistake
    )
    assert "must end in .png" in folio("rl-report", ppo, "--png", "x.jpg").mistake
    (ppo / "metrics.jsonl").unlink()
    assert "has no metrics yet" in folio("rl-report", ppo).mistake


@pytest.mark.parametrize("text", ["", "{", '{"stage": "ppo"}'])
def test_a_damaged_run(folio, ppo, text):
    (ppo / "run.json").write_text(text)
    mistake = folio("rl-report", ppo).mistake
    assert "run.json" in mistake
    assert "damaged" in mistake


def test_damaged_figures_from_before(folio, ppo):
    info = json.loads((ppo / "run.json").read_text())
    (ppo / "run.json").write_text(json.dumps({**info, "before": {"val_reward": "x"}}))
    assert "before does not hold metrics" in folio("rl-report", ppo).mistake


def test_a_run_without_evaluations_cannot_be_compared(folio, ppo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other"
    shutil.copytree(ppo, other)
    info = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps({**info, "before": {}}))
    write_lines(other / "metrics.jsonl", read_lines(other / "metrics.jsonl")[:3])
    assert "has not been evaluated yet" in folio("rl-report", ppo, other).mistake
