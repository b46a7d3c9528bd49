"""How long a chain takes: the times of a measured one, scaled by this machine's pace."""

import json
from pathlib import Path

import pytest
import torch

from folio.config import PACKAGED_RECIPES
from folio.errors import UserError
from folio.runs.pace import ChainTimes, measure_pace
from folio.runtime import Runtime

TIMES = ChainTimes(
    hardware="a machine",
    command="folio run",
    pace=0.5,
    stages={"pretrain": 100.0, "sft": 20.0},
    losses={"0.25": 1.8, "0.5": 1.6, "1.0": 1.5},
)


def test_a_machine_of_half_the_pace_takes_twice_as_long():
    assert TIMES.seconds(["pretrain", "sft"], 1.0) == 240
    assert TIMES.seconds(["sft"], 0.5) == 20


@pytest.mark.parametrize(("share", "loss"), [(0.1, 1.8), (0.5, 1.6), (0.75, 1.55), (2.0, 1.5)])
def test_the_expected_loss_lies_between_the_measured_ones(share, loss):
    assert TIMES.expected_loss(share) == pytest.approx(loss)


def test_a_pace_is_measured_and_leaves_no_trace():
    before = torch.get_rng_state()
    runtime = Runtime(torch.device("cpu"), torch.float32, compiles=False, threads=1, flops_per_second=1e9)
    assert measure_pace(runtime) > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_times_that_are_none_are_refused(tmp_path: Path):
    assert ChainTimes.beside(tmp_path) is None
    (tmp_path / "times.json").write_text(json.dumps({"pace": 1}))
    with pytest.raises(UserError, match="holds no times"):
        ChainTimes.beside(tmp_path)


@pytest.mark.parametrize("file", PACKAGED_RECIPES.glob("*/times.json"), ids=lambda file: file.parent.name)
def test_the_packaged_times_are_of_the_recipes_beside_them(file):
    times = ChainTimes.beside(file.parent)
    assert times is not None
    assert set(times.stages) == {recipe.stem for recipe in file.parent.glob("*.toml")}
