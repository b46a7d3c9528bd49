"""The pace of a machine, and the times of a recipe on it."""

import json
from dataclasses import replace

import pytest
import torch

from folio.errors import UserError
from folio.runs.pace import FILE, RecipeTimes, measure_pace
from folio.runtime import RuntimeConfig, start_runtime

TIMES = RecipeTimes(
    hardware="a machine",
    folio="0.2",
    date="2026-11-26",
    command="python benchmarks/recipe_times.py",
    pace=0.5,
    stages={"pretrain": 100.0, "sft": 20.0},
    losses={"0.1": 2.0, "1": 1.5},
    met={"0": 0.0, "0.5": 0.2, "1": 0.8},
)


def test_a_machine_of_half_the_pace_takes_twice_as_long():
    assert TIMES.seconds(["pretrain", "sft"], 1.0) == 240.0
    assert TIMES.seconds(["sft", "unknown"], 0.5) == 20.0


@pytest.mark.parametrize(("share", "loss"), [(0.1, 2.0), (1.0, 1.5), (0.1**0.5, 1.75), (0.01, 2.0)])
def test_the_loss_is_that_of_the_measured_shares_and_between_them(share, loss):
    assert TIMES.expected_loss(share) == pytest.approx(loss)


@pytest.mark.parametrize(("share", "met"), [(0.0, 0.0), (0.5, 0.2), (0.75, 0.5), (1.0, 0.8)])
def test_the_requests_met_are_those_of_the_measured_shares_and_between_them(share, met):
    assert TIMES.expected_met(share) == pytest.approx(met)


def test_fine_tuning_needs_the_share_at_which_half_of_the_requests_are_met():
    assert TIMES.needed(1.0) == {"sft": 40.0}  # all of it: at half of the steps only a quarter of them are
    assert replace(TIMES, met={"0.4": 0.5, "1": 0.8}).needed(0.5) == {"sft": pytest.approx(8.0)}
    assert replace(TIMES, met={}).needed(1.0) == {}


def test_they_are_read_from_beside_the_recipe(tmp_path):
    assert RecipeTimes.beside(tmp_path) is None
    (tmp_path / FILE).write_text(json.dumps(vars(TIMES)))
    assert RecipeTimes.beside(tmp_path) == TIMES
    (tmp_path / FILE).write_text('{"pace": 1.0}')
    with pytest.raises(UserError, match="does not hold the times"):
        RecipeTimes.beside(tmp_path)


def test_measuring_draws_no_random_numbers():
    runtime = start_runtime(RuntimeConfig(device="cpu", compile="off"))
    before = torch.random.get_rng_state()
    assert measure_pace(runtime) > 0
    assert torch.equal(torch.random.get_rng_state(), before)
