"""Training as a function: any optimizer, any source, one report a step."""

import pytest
import torch
from chatty import make_chatty

from folio.data.windows import RandomWindows
from folio.errors import UserError
from folio.objectives.next_token import next_token_loss
from folio.training.loop import Accumulated, NonFiniteLossError
from folio.training.schedule import ScheduleConfig
from folio.training.task import Task, train

CONSTANT = ScheduleConfig(warmup_steps=0, decay_fraction=0.0)


def make_windows(seed=1):
    ids = torch.randint(0, 10, (400,), generator=torch.Generator().manual_seed(0))
    return RandomWindows(ids, block_size=16, batch_size=4, seed=seed)


def test_a_report_for_each_step_and_the_loss_falls():
    model, _ = make_chatty()
    reports = list(train(model, make_windows(), next_token_loss, steps=30, learning_rate=0.02))
    assert [report.step for report in reports] == list(range(1, 31))
    assert {report.n_tokens for report in reports} == {64}
    assert reports[-1].loss < reports[0].loss


def test_nothing_happens_before_a_report_is_asked_for():
    model, _ = make_chatty()
    before = [value.clone() for value in model.parameters()]
    train(model, make_windows(), next_token_loss, steps=3)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad])
def test_an_optimizer_follows_the_schedule(kind):
    model, _ = make_chatty()
    optimizer = kind(model.parameters(), lr=0.01)
    schedule = ScheduleConfig(warmup_steps=1, decay_fraction=0.5, final_fraction=0.0)
    reports = list(
        train(model, make_windows(), next_token_loss, steps=4, optimizers=[optimizer], schedule=schedule)
    )
    rates = [report.learning_rate for report in reports]
    assert rates == pytest.approx([0.01 * schedule.multiplier(step, 4) for step in (1, 2, 3, 4)])


@pytest.mark.parametrize(
    ("optimizers", "message"),
    [
        (lambda parameters: [], "optimizers is empty: leave it out for AdamW"),
        (lambda parameters: [torch.optim.LBFGS(parameters)], "the step of LBFGS needs a closure"),
    ],
)
def test_optimizers_that_cannot_step_are_refused_at_once(optimizers, message):
    model, _ = make_chatty()
    with pytest.raises(UserError, match=message):
        train(model, make_windows(), next_token_loss, steps=1, optimizers=optimizers(model.parameters()))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("steps", 0), ("steps", 1.5), ("learning_rate", -1.0), ("accumulation", 0), ("max_norm", float("nan"))],
)
def test_a_number_that_makes_no_sense_is_refused_at_once(setting, value):
    model, _ = make_chatty()
    with pytest.raises(UserError, match=rf"folio\.train: {setting}"):
        train(model, make_windows(), next_token_loss, **{"steps": 1, setting: value})


def test_accumulated_micro_batches_are_one_step():
    model, _ = make_chatty()
    (report,) = train(model, make_windows(), next_token_loss, steps=1, accumulation=3)
    assert report.n_tokens == 3 * 64


def test_a_loss_that_is_not_finite_stops_before_the_weights():
    model, _ = make_chatty()
    with torch.no_grad():
        model.head.weight[0, 0] = torch.nan
    before = model.embedding.weight.clone()
    with pytest.raises(NonFiniteLossError):
        next(train(model, make_windows(), next_token_loss, steps=1))
    assert torch.equal(model.embedding.weight, before)


def test_a_task_continues_at_a_step_and_adds_its_metrics():
    model, _ = make_chatty()
    task = Task(
        model=model,
        source=Accumulated(make_windows(), 1),
        loss_function=next_token_loss,
        optimizers=[torch.optim.SGD(model.parameters(), lr=0.1)],
        steps=5,
        schedule=CONSTANT,
        metrics=lambda: {"rollout": 7},
    )
    reports = list(task.reports(first_step=4))
    assert [report.step for report in reports] == [4, 5]
    assert all(report.metrics == {"rollout": 7} for report in reports)
    assert task.source.state_dict() == {"position": 8}
