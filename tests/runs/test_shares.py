"""How the time of a chain is divided among its stages."""

import pytest

from folio.runs.shares import END_SECONDS, Shares


def minutes_of(flags):
    name, minutes = flags
    assert name == "--minutes"
    return float(minutes)


def test_the_time_is_divided_by_the_root_of_how_long_stages_take():
    shares = Shares({"pretrain": 900.0, "sft": 100.0}, ["pretrain", "sft"], minutes=4 + END_SECONDS / 60)
    assert minutes_of(shares.flags("pretrain")) == pytest.approx(3, abs=0.1)
    # Nothing was used of it: all is left for the other.
    assert minutes_of(shares.flags("sft")) == pytest.approx(4, abs=0.1)


def test_without_times_stages_share_alike_and_finished_ones_take_nothing():
    shares = Shares({}, ["sft", "ppo"], minutes=2 + END_SECONDS / 60)
    assert shares.flags("pretrain") == []
    assert minutes_of(shares.flags("sft")) == pytest.approx(1, abs=0.1)
    assert Shares({}, ["sft"], minutes=None).flags("sft") == []


def test_a_stage_gets_what_it_needs_first():
    seconds, needed = {"pretrain": 900.0, "sft": 900.0}, {"sft": 120.0}
    shares = Shares(seconds, ["pretrain", "sft"], minutes=4 + END_SECONDS / 60, needed=needed)
    assert minutes_of(shares.flags("pretrain")) == pytest.approx(1, abs=0.1)
    little = Shares(seconds, ["pretrain", "sft"], minutes=1 + END_SECONDS / 60, needed=needed)
    most = Shares.MOST_NEEDED
    assert minutes_of(little.flags("pretrain")) == pytest.approx((1 - most) / 2, abs=0.1)
    finished = Shares(seconds, ["pretrain"], minutes=4 + END_SECONDS / 60, needed=needed)
    assert minutes_of(finished.flags("pretrain")) == pytest.approx(4, abs=0.1)
