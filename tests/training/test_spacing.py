"""Where in a run an action is due."""

from hypothesis import given
from hypothesis import strategies as st

from folio.training.spacing import is_due, times_due


@given(st.integers(1, 12), st.integers(1, 300), st.data())
def test_the_number_of_times_is_counted(times, last_step, data):
    done = data.draw(st.integers(0, last_step - 1))
    due = [step for step in range(done + 1, last_step + 1) if is_due(times, step, last_step)]
    assert times_due(times, done, last_step) == len(due)
    assert due[-1] == last_step
    assert len(due) <= times
