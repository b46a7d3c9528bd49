"""What a schedule does to the learning rate."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folio.errors import UserError
from folio.training.schedule import ScheduleConfig


def test_up_along_down():
    schedule = ScheduleConfig(warmup_steps=3, decay_fraction=0.5, final_fraction=0.1)
    shares = [schedule.multiplier(step, 20) for step in range(1, 21)]
    assert shares[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert shares[3:10] == pytest.approx([1.0] * 7)
    falls = [before - after for before, after in pairwise(shares[9:])]
    assert falls == pytest.approx([0.09] * 10)
    assert shares[-1] == pytest.approx(0.1)


@pytest.mark.parametrize("total", [1, 2, 4])
def test_a_short_run_has_a_step_near_the_full_rate(total):
    schedule = ScheduleConfig(decay_fraction=1.0)
    assert max(schedule.multiplier(step, total) for step in range(1, total + 1)) >= 1 / 3


def test_without_warmup_and_decay_it_is_flat():
    schedule = ScheduleConfig(warmup_steps=0, decay_fraction=0.0)
    assert {schedule.multiplier(step, 7) for step in range(1, 8)} == {1.0}


fractions = st.floats(0, 1, allow_subnormal=False)


@given(
    warmup=st.integers(0, 50),
    decay=fractions,
    final=fractions,
    total=st.integers(1, 10_000),
    share=fractions,
)
def test_a_rate_is_never_negative_nor_above_its_peak(warmup, decay, final, total, share):
    schedule = ScheduleConfig(warmup_steps=warmup, decay_fraction=decay, final_fraction=final)
    step = 1 + round(share * (total - 1))
    assert 0 <= schedule.multiplier(step, total) <= 1 + 1e-12
    if final > 0:
        assert schedule.multiplier(step, total) > 0
    if decay > 0 and total > max(warmup, 1):
        assert schedule.multiplier(total, total) == pytest.approx(final)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("warmup_steps", -1),
        ("decay_fraction", 1.1),
        ("final_fraction", -0.1),
        ("final_fraction", float("nan")),
    ],
)
def test_a_schedule_out_of_range_is_refused(field, value):
    with pytest.raises(UserError, match=field):
        ScheduleConfig(**{field: value})
