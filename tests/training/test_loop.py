"""The training loop: what a step computes, what is done after it, and how it is interrupted."""

import math
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from folio.batch import Batch, Loss
from folio.objectives.next_token import next_token_loss
from folio.training.loop import (
    Accumulated,
    Every,
    NonFiniteLossError,
    Spread,
    StepReport,
    deferred_interrupt,
    fit,
    optimizer_steps,
)
from folio.training.schedule import ScheduleConfig

V, T = 11, 6
CONSTANT = ScheduleConfig(warmup_steps=0, decay_fraction=0.0)


def make_model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Embedding(V, 8), nn.Tanh(), nn.Linear(8, V)).double()


def make_batch(n_rows: int, seed: int = 0) -> Batch:
    """Rows of which unequal numbers of tokens count."""
    generator = torch.Generator().manual_seed(seed)
    batch = Batch.from_windows(torch.randint(V, (n_rows, T + 1), generator=generator))
    weights = torch.randint(5, batch.weights.shape, generator=generator) / 4  # their sums are exact
    weights[:, : T // 2] *= torch.rand((n_rows, 1), generator=generator) > 0.5
    return replace(batch, weights=weights)


def loss_in_double(model: nn.Module, batch: Batch) -> Loss:
    """The next-token loss without the rounding of float32, so that equal means equal."""
    logprobs = model(batch.ids).log_softmax(-1)
    losses = -logprobs.gather(-1, batch.targets[..., None])[..., 0] * batch.weights
    hits = (logprobs.argmax(-1) == batch.targets) * batch.weights
    return Loss(losses.sum(), batch.weights.sum(), {"accuracy": hits.sum()})


def rows(batch: Batch, *sizes: int) -> list[Batch]:
    parts = zip(*(torch.split(x, sizes) for x in (batch.ids, batch.targets, batch.weights)), strict=True)
    return [Batch(*part) for part in parts]


def run_steps(
    model: nn.Module,
    groups: Sequence[Sequence[Batch]],
    loss: Callable[[nn.Module, Batch], Loss] = loss_in_double,
    *,
    lr: float = 0.5,
    max_norm: float = 0.0,
    schedule: ScheduleConfig = CONSTANT,
    first_step: int = 1,
    last_step: int | None = None,
) -> list[StepReport]:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    last = last_step or len(groups)
    steps = optimizer_steps(
        model,
        loss,
        groups,
        [optimizer],
        schedule,
        first_step=first_step,
        last_step=lambda: last,
        max_norm=max_norm,
    )
    return list(steps)


@pytest.mark.parametrize("sizes", [(1,) * 8, (3, 5), (7, 1)])
def test_how_a_step_is_cut_does_not_change_it(sizes):
    batch = make_batch(8)
    whole, cut = make_model(), make_model()
    (expected,) = run_steps(whole, [[batch]])
    (report,) = run_steps(cut, [rows(batch, *sizes)])
    for ours, theirs in zip(cut.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    assert report.loss == pytest.approx(expected.loss, rel=1e-12)
    assert report.metrics == pytest.approx(expected.metrics, rel=1e-12)
    assert report.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-12)
    assert report.n_tokens == expected.n_tokens == 8 * T


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_any_cut_gives_the_same_weights(seed, sizes):
    batch = make_batch(sum(sizes), seed)
    batch.weights[0, -1] = 1.0
    whole, cut = make_model(), make_model()
    run_steps(whole, [[batch]])
    run_steps(cut, [rows(batch, *sizes)])
    for ours, theirs in zip(cut.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_tokens_of_weight_0_give_no_gradient():
    batch = make_batch(4)
    batch.weights[2:] = 0
    other = Batch(batch.ids.clone(), batch.targets.clone(), batch.weights)
    other.ids[2:], other.targets[2:] = 1, 2
    left, right = make_model(), make_model()
    run_steps(left, [[batch]])
    run_steps(right, [[other]])
    for ours, theirs in zip(left.parameters(), right.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_step_is_the_mean_gradient_times_the_rate():
    batch, model, expected = make_batch(4), make_model(), make_model()
    loss = loss_in_double(expected, batch)
    gradients = torch.autograd.grad(loss.total / loss.count, list(expected.parameters()))
    (report,) = run_steps(model, [[batch]], lr=0.25)
    for ours, start, gradient in zip(model.parameters(), expected.parameters(), gradients, strict=True):
        torch.testing.assert_close(ours, start - 0.25 * gradient)
    assert report.loss == pytest.approx((loss.total / loss.count).item())
    assert report.gradient_norm == pytest.approx(math.sqrt(sum(g.square().sum().item() for g in gradients)))


def test_long_gradients_are_shortened_and_short_ones_left_alone():
    batch = make_batch(4)
    start = torch.nn.utils.parameters_to_vector(make_model().parameters())

    def moved(max_norm: float) -> Tensor:
        model = make_model()
        (report,) = run_steps(model, [[batch]], lr=1.0, max_norm=max_norm)
        assert report.gradient_norm == pytest.approx(free.norm().item())  # before clipping
        return start - torch.nn.utils.parameters_to_vector(model.parameters())

    model = make_model()
    run_steps(model, [[batch]], lr=1.0)
    free = start - torch.nn.utils.parameters_to_vector(model.parameters())
    norm = free.norm().item()
    torch.testing.assert_close(moved(norm / 10), free / 10, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(moved(norm * 10), free)
    torch.testing.assert_close(moved(0.0), free)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_never_reaches_the_weights(bad):
    def loss(model: nn.Module, batch: Batch) -> Loss:
        good = loss_in_double(model, batch)
        return Loss(good.total * (bad if batch.ids[0, 0] == 7 else 1.0), good.count)

    first, second = make_batch(2, 1), make_batch(2, 2)
    first.ids[0, 0], second.ids[0, 0] = 1, 7
    model, expected = make_model(), make_model()
    run_steps(expected, [[first]])
    with pytest.raises(NonFiniteLossError, match="step 2") as caught:
        run_steps(model, [[first], [first, second]], loss)
    assert caught.value.step == 2
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_gradient_that_is_no_number_never_reaches_the_weights():
    def loss(model: nn.Module, batch: Batch) -> Loss:
        good = loss_in_double(model, batch)
        root = (model[0].weight * 0).abs().sum().sqrt()  # 0, with a slope of 0 * infinity
        return Loss(good.total + root, good.count)

    model = make_model()
    with pytest.raises(NonFiniteLossError):
        run_steps(model, [[make_batch(2)]], loss)
    for ours, start in zip(model.parameters(), make_model().parameters(), strict=True):
        assert torch.equal(ours, start)


def test_a_step_in_which_nothing_counts_is_no_step():
    batch = make_batch(2)
    batch.weights.zero_()
    with pytest.raises(NonFiniteLossError, match="step 1"):
        run_steps(make_model(), [[batch]])


def test_the_schedule_sets_the_rate_of_every_group():
    schedule = ScheduleConfig(warmup_steps=2, decay_fraction=0.5, final_fraction=0.1)
    reports = run_steps(make_model(), [[make_batch(1, seed)] for seed in range(1, 9)], schedule=schedule)
    assert [report.step for report in reports] == list(range(1, 9))
    expected = [0.5 * schedule.multiplier(step, 8) for step in range(1, 9)]
    assert [report.learning_rate for report in reports] == pytest.approx(expected)


def test_a_later_start_follows_the_same_schedule():
    groups = [[make_batch(1, seed)] for seed in range(1, 7)]
    schedule = ScheduleConfig(warmup_steps=2)
    whole, halves = make_model(), make_model()
    expected = run_steps(whole, groups, schedule=schedule)
    run_steps(halves, groups[:3], schedule=schedule, last_step=6)
    reports = run_steps(halves, groups[3:], schedule=schedule, first_step=4, last_step=6)
    assert [replace(r, seconds=0) for r in reports] == [replace(r, seconds=0) for r in expected[3:]]
    for ours, theirs in zip(halves.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_no_batch_is_taken_before_its_step():
    """What a source's state says after a step is then where the next step begins."""
    taken = 0

    def source() -> Iterator[Batch]:
        nonlocal taken
        while True:
            taken += 1
            yield make_batch(1, taken)

    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    reports = optimizer_steps(
        model,
        next_token_loss,
        Accumulated(source(), 3),
        [optimizer],
        CONSTANT,
        last_step=lambda: 3,
        max_norm=1.0,
    )
    for report in reports:
        assert taken == 3 * report.step
    assert taken == 9


def test_accumulated_groups_batches():
    batches = [make_batch(1, seed) for seed in range(7)]
    groups = list(Accumulated(batches, 3))
    assert [len(group) for group in groups] == [3, 3, 1]
    assert [batch for group in groups for batch in group] == batches


def test_the_last_step_may_come_nearer_or_move_away_on_the_way():
    last, model = 10, make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    groups = [[make_batch(1, seed)] for seed in range(1, 11)]
    schedule = ScheduleConfig(warmup_steps=0, decay_fraction=1.0, final_fraction=0.0)
    reports = optimizer_steps(
        model, next_token_loss, groups, [optimizer], schedule, last_step=lambda: last, max_norm=0.0
    )
    rates = []
    for each in reports:
        rates.append(each.learning_rate)
        last = {2: 12, 4: 6}.get(each.step, last)
    assert rates == pytest.approx(
        [0.5 * schedule.multiplier(n, total) for n, total in enumerate([10, 10, 12, 12, 6, 6], 1)]
    )


# fit


@pytest.mark.parametrize(("times", "last_step"), [(10, 920), (10, 13), (10, 7), (3, 100), (1, 5)])
def test_actions_are_spread_evenly_and_end_with_the_run(times, last_step):
    due = [step for step in range(1, last_step + 1) if Spread(times, print).is_due(step, last_step)]
    assert len(due) <= times
    assert due[-1] == last_step
    gaps = [after - before for before, after in pairwise([0, *due])]
    assert set(gaps[:-1]) <= {gaps[0]}


def report(step: int) -> StepReport:
    return StepReport(step, 1.0, {}, 1.0, 0.1, 10, 0.1)


class Diary:
    """Notes what happens, in order; `on` may add something to do at one entry."""

    def __init__(self, on: dict[str, Callable[[], None]] | None = None) -> None:
        self.entries: list[str] = []
        self.on = on or {}

    def action(self, name: str) -> Callable[[StepReport], None]:
        def note(report: StepReport) -> None:
            entry = f"{name} {report.step}"
            self.entries.append(entry)
            self.on.get(entry, lambda: None)()

        return note

    def reports(self, steps: range) -> Iterator[StepReport]:
        for step in steps:
            entry = f"step {step}"
            self.entries.append(entry)
            self.on.get(entry, lambda: None)()
            yield report(step)

    def fit(self, steps: range, last_step: int, times: int, unfinished: StepReport | None = None) -> None:
        fit(
            self.reports(steps),
            last_step=lambda: last_step,
            save=Spread(times, self.action("save")),
            then=(Spread(times, self.action("evaluate")), Every(self.action("record"))),
            unfinished=unfinished,
        )


def test_fit_saves_first_and_does_the_last_step_too():
    diary = Diary()
    diary.fit(range(1, 6), last_step=5, times=3)
    assert diary.entries == [
        *("step 1", "record 1"),
        *("step 2", "save 2", "evaluate 2", "record 2"),
        *("step 3", "record 3"),
        *("step 4", "save 4", "evaluate 4", "record 4"),
        *("step 5", "save 5", "evaluate 5", "record 5"),
    ]


def test_fit_completes_an_unfinished_step_without_saving_it():
    diary = Diary()
    diary.fit(range(3, 5), last_step=5, times=3, unfinished=report(2))
    assert diary.entries == [
        *("evaluate 2", "record 2"),
        *("step 3", "record 3"),
        *("step 4", "save 4", "evaluate 4", "record 4"),
    ]


def test_fit_after_the_last_step_only_does_what_is_left():
    diary = Diary()
    diary.fit(range(6, 6), last_step=5, times=3, unfinished=report(5))
    assert diary.entries == ["evaluate 5", "record 5"]


def test_an_action_can_end_the_run():
    def stop() -> None:
        raise RuntimeError("enough")

    diary = Diary({"evaluate 2": stop})
    with pytest.raises(RuntimeError, match="enough"):
        diary.fit(range(1, 6), last_step=5, times=3)
    assert diary.entries[-1] == "evaluate 2"


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("when", ["step 3", "record 3"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_end_and_saves(when, number):
    before = signal.getsignal(number)
    diary = Diary({when: lambda: signal.raise_signal(number)})
    with pytest.raises(KeyboardInterrupt):
        diary.fit(range(1, 6), last_step=5, times=1)
    if when == "step 3":
        assert diary.entries[-2:] == ["step 3", "save 3"]
    else:  # after its moment to save: the next step is made, and saved
        assert diary.entries[-2:] == ["step 4", "save 4"]
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("when", ["step 4", "save 4", "evaluate 4"])
def test_a_signal_where_a_save_is_due_saves_once_and_waits_for_nothing_else(when):
    diary = Diary({when: interrupt})
    with pytest.raises(KeyboardInterrupt):
        diary.fit(range(1, 6), last_step=5, times=3)
    assert diary.entries[-1] == ("evaluate 4" if when == "evaluate 4" else "save 4")
    assert diary.entries.count("save 4") == 1


@pytest.mark.parametrize("steps", [range(3, 6), range(6, 6)])
def test_a_signal_while_an_unfinished_step_is_done_again(steps):
    diary = Diary({"evaluate 2": interrupt})
    with pytest.raises(KeyboardInterrupt):
        diary.fit(steps, last_step=5, times=3, unfinished=report(2))
    assert diary.entries == ["evaluate 2"]  # step 2 is saved: it is done when the run is resumed again


def test_a_second_interrupt_does_not_wait():
    told = []
    with deferred_interrupt(lambda: told.append("stopping")) as event:
        interrupt()
        assert event.is_set()
        assert told == ["stopping"]
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_nobody_hears_of_lets_the_step_end():
    def tell() -> None:
        raise BrokenPipeError

    with deferred_interrupt(tell) as event:
        interrupt()
        assert event.is_set()


def test_without_a_signal_nothing_is_noted():
    with deferred_interrupt(interrupt) as event:
        assert not event.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
