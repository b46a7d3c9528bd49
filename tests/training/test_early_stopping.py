"""When a run is at its best, and when going on is in vain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folio.training.early_stopping import MIN_DELTA, PATIENCE, EarlyStopping, OverfittingError


def follow(losses: list[float]) -> tuple[EarlyStopping, list[int], int | None]:
    """What a run does: the evaluations at which it says that it has turned, and the one at which it stops."""
    best, turned = EarlyStopping(), []
    for step, loss in enumerate(losses, start=1):
        if not best.update(step, loss) and best.should_warn(loss):
            turned.append(step)
        try:
            best.check(loss)
        except OverfittingError:
            return best, turned, step
    return best, turned, None


def test_a_falling_loss_goes_on():
    best, turned, stopped = follow([3.0, 2.5, 2.4, 2.3])
    assert (best.step, best.val_loss, turned, stopped) == (4, 2.3, [], None)


def test_a_turn_warned_once_and_then_ends_the_run():
    best, turned, stopped = follow([3.0, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5])
    assert (best.step, best.val_loss) == (2, 2.0)
    assert turned == [4]
    assert stopped == 2 + PATIENCE


def test_the_reason_names_the_best_step():
    best = EarlyStopping(step=1234, val_loss=1.0, evaluations_since=PATIENCE)
    with pytest.raises(OverfittingError, match="since step 1,234"):
        best.check(2.0)


def test_noise_is_no_turn():
    _, turned, stopped = follow([2.0, *[2.0 + MIN_DELTA / 2] * 10])
    assert (turned, stopped) == ([], None)


def test_a_new_best_begins_anew():
    _, turned, stopped = follow([3.0, 3.2, 3.2, 3.2, 2.0, 2.2, 2.2, 2.2])
    assert turned == [3, 7]
    assert stopped is None


@given(st.lists(st.floats(0.5, 5.0), min_size=1, max_size=20), st.integers(0, 20))
def test_state_goes_on_exactly(losses, at):
    best, _, stopped = follow(losses)
    assert best.val_loss == min(losses[:stopped])
    assert losses[best.step - 1] == best.val_loss
    halves = EarlyStopping()
    for step, loss in enumerate(losses[:stopped], start=1):
        if step == at:
            state, halves = halves.state_dict(), EarlyStopping()
            halves.load_state_dict(state)
        if not halves.update(step, loss):
            halves.should_warn(loss)
    assert halves == best


def test_a_slow_turn_warned_when_it_is_more_than_noise():
    _, turned, _ = follow([2.0, 2.0 + MIN_DELTA / 2, 2.0 + MIN_DELTA / 2, 2.0 + 2 * MIN_DELTA])
    assert turned == [4]
