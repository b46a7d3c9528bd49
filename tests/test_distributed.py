"""Two ranks on this machine, over gloo: the same as one, and no one waits for the dead."""

import json
from pathlib import Path

import pytest
import torch
from ranks import command, library, mistake_of_one, run_ranks, train
from tiny import STEPS, TINY, make_text

from folio.checkpoint import load_state
from folio.cli import main
from folio.distributed import add_up, agreed, is_lost, is_several, joined, on_first, rank, world_size
from folio.errors import UserError


def test_a_world_of_one_needs_no_group():
    with joined():
        assert (rank(), world_size(), is_several()) == (0, 1, False)
        assert on_first(lambda: "decided") == "decided"
        assert add_up(torch.ones(2)).tolist() == [1, 1]
        with pytest.raises(UserError, match="mine"), agreed():
            raise UserError("mine")
    assert not is_lost(RuntimeError("Connection closed by peer"))


def test_two_ranks_are_one(tmp_path):
    assert [code for code, _ in run_ranks(2, library, tmp_path)] == [0, 0]
    first, second = (load_state(tmp_path / f"rank{number}.safetensors") for number in range(2))
    assert (first["rank"], second["rank"], first["size"]) == (0, 1, 2)
    assert first["decided"] == second["decided"] == 10
    for n, *shared in zip((1, 2, 5), first["shared"], second["shared"], strict=True):
        for result in shared:
            assert torch.equal(result, 2 * torch.arange(2.0 * n).view(n, 2))
    assert not torch.equal(first["chance"], second["chance"])
    for each in (first, second):
        assert torch.equal(each["chance"], each["again"])
        assert each["unshared"].startswith("list cannot be shared among 2 processes")
    for optimizer in ("muon", "adamw"):
        alone = train(optimizer)
        for result in (first[optimizer], second[optimizer]):
            assert result["losses"] == pytest.approx(alone["losses"], rel=1e-6)
            assert (result["tokens"], result["source"]) == (alone["tokens"], alone["source"])
            for name, value in alone["first"].items():
                torch.testing.assert_close(result["first"][name], value, atol=1e-5, rtol=1e-5)
        for name, value in first[optimizer]["last"].items():
            assert torch.equal(value, second[optimizer]["last"][name])


def test_a_mistake_of_one_rank_ends_all_with_one_line(tmp_path):
    assert run_ranks(2, mistake_of_one, tmp_path) == [(2, "rank 1 lacks the file.\n"), (2, "")]


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_changes_its_number_of_ranks(tmp_path, finished):
    """Interrupted on two, continued on one, finished on two: the losses of a run that always had one."""
    (tmp_path / "words.txt").write_text(make_text(), encoding="utf-8")
    run = tmp_path / "run"
    arguments = ["pretrain", "--data", str(tmp_path / "words.txt"), "--run", str(run), *TINY]
    results = run_ranks(2, command, tmp_path, "interrupted-at 5", arguments)
    assert [code for code, _ in results] == [130, 130]
    assert "resume with --resume" in results[0][1]
    assert results[1][1] == ""
    arguments.append("--resume")
    ((code, output),) = run_ranks(1, command, tmp_path, "interrupted-at 11", arguments)
    assert (code, "Resuming after step 6" in output) == (130, True)
    results = run_ranks(2, command, tmp_path, "end", arguments)
    assert [code for code, _ in results] == [0, 0]
    assert "Resuming after step 12" in results[0][1]
    assert results[1][1] == ""
    assert len(losses(run)) == STEPS
    assert losses(run) == pytest.approx(losses(finished), rel=1e-6)


def test_a_killed_rank_ends_the_job(tmp_path):
    (tmp_path / "words.txt").write_text(make_text(), encoding="utf-8")
    arguments = ["pretrain", "--data", str(tmp_path / "words.txt"), "--run", str(tmp_path / "run"), *TINY]
    (code, output), (killed, _) = run_ranks(2, command, tmp_path, "killed-at 9", arguments)
    assert (code, killed) == (2, -9)
    assert "Another process of this run has ended" in output
    assert "step-4 is saved" in output
    assert "Traceback" not in output


def test_mistakes_are_told_once(tmp_path):
    arguments = ["pretrain", "--data", str(tmp_path / "nothing.txt"), *TINY]
    (code, output), other = run_ranks(2, command, tmp_path, "end", arguments)
    assert (code, len(output.splitlines())) == (2, 1)
    assert "nothing.txt" in output
    assert other == (2, "")


def test_rows_that_cannot_be_shared_evenly(tmp_path):
    (tmp_path / "words.txt").write_text(make_text(), encoding="utf-8")
    arguments = ["pretrain", "--data", str(tmp_path / "words.txt"), "--run", str(tmp_path / "run"), *TINY]
    (code, output), *others = run_ranks(3, command, tmp_path, "end", arguments)
    assert code == 2
    assert "a step has 4 rows, which 3 processes cannot share evenly" in output
    assert others == [(2, ""), (2, "")]
    assert not (tmp_path / "run").exists()


def test_other_commands_are_for_one_process(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["sample", "runs/none"]) == 2
    assert "folio sample is for one process" in capsys.readouterr().err
