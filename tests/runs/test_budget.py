"""A budget: as many steps as fit into the time, with what happens between them."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folio.runs.budget import FINISH_SECONDS, Budget, clock
from folio.training.spacing import EVALUATIONS, times_due


def budget(seconds: float, most_steps: int = 10**9, **more: float) -> Budget:
    return Budget(seconds, most_steps, started=time.monotonic(), **more)


@given(st.floats(10, 1e5), st.floats(1e-3, 10), st.floats(0, 100))
def test_steps_and_evaluations_fit_into_the_time(seconds, step_seconds, pause_seconds):
    steps = budget(seconds, pause_seconds=pause_seconds).steps(0, step_seconds)
    assert steps >= 1
    n_pauses = times_due(EVALUATIONS, 0, steps)
    assert steps == 1 or steps * step_seconds + n_pauses * pause_seconds + FINISH_SECONDS <= seconds + 0.1


@pytest.mark.parametrize(("seconds", "n"), [(math.inf, 10), (1000, 10), (102, 10), (26, 2), (10, 1), (1, 1)])
def test_few_evaluations_are_made_where_they_would_take_much_of_the_time(seconds, n):
    assert budget(seconds, pause_seconds=2.0).affordable_evaluations() == n


def test_no_more_would_fit():
    limited = budget(60.0, pause_seconds=2.0)
    steps = limited.steps(0, 3.0)
    assert limited.duration(steps, 3.0) <= 60.0 - FINISH_SECONDS
    assert all(limited.duration(more, 3.0) > 60.0 - FINISH_SECONDS for more in range(steps + 1, 3 * steps))


def test_without_a_limit_all_steps_are_made():
    assert Budget.of_minutes(None, 12).steps(3, 1e9) == 12
    assert Budget.of_minutes(1.5, 12).seconds == 90


def test_no_more_steps_are_made_than_there_are():
    assert budget(1e9, most_steps=12).steps(0, 0.1) == 12


def test_a_run_that_is_late_ends_with_the_step_in_hand():
    assert budget(1.0).steps(7, 1.0) == 7


def test_evaluations_that_are_left_take_their_time():
    steps = budget(100, pause_seconds=4).steps(0, 1.0)
    assert steps == pytest.approx(100 - FINISH_SECONDS - 10 * 4, abs=2)
    assert budget(100, pause_seconds=4).steps(0, 1.0, evaluations_due=2) == pytest.approx(
        steps - 2 * 4, abs=2
    )


def test_the_duration_is_that_of_all_steps_and_all_evaluations():
    assert Budget(math.inf, 50, pause_seconds=3.0).duration(50, 2.0) == 50 * 2 + EVALUATIONS * 3


def test_steps_end_with_a_rollout():
    assert budget(40, multiple=4).steps(4, 1.0) % 4 == 0


def test_time_of_earlier_sessions_counts():
    assert budget(100, spent_before=60.0).steps(0, 1.0) == pytest.approx(35, abs=1)


def test_the_time_counts_from_the_start_of_the_command():
    with clock():
        time.sleep(0.02)
        assert 0.02 <= Budget(math.inf, 1).spent < 10
    assert Budget(math.inf, 1).spent < 0.02
