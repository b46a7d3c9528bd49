"""A rehearsal: it leaves no trace, and tells what would go wrong before a run begins."""

import io
import math

import pytest
import torch
from rich.console import Console
from tiny_training import make_training

from folio.batch import Loss
from folio.errors import UserError
from folio.objectives.next_token import next_token_loss
from folio.runs.rehearsal import REHEARSAL_STEPS, rehearse


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def loss_that_raises(error):
    def loss(model, batch):
        raise error

    return loss


def test_after_it_a_run_goes_as_it_would_have_gone(console):
    runs = []
    for is_rehearsed in (False, True):
        torch.manual_seed(2)
        training = make_training()
        if is_rehearsed:
            rehearse(training, training.evaluation, console)
        reports = [(report.step, report.loss, report.learning_rate) for report in training.reports(1)]
        runs.append((reports, training.tokens, [each.tolist() for each in training.model.parameters()]))
    assert runs[0] == runs[1]


def test_it_measures_steps_and_evaluations(console):
    training = make_training()
    calls = []
    training.task.loss_function = lambda model, batch: calls.append(batch) or next_token_loss(model, batch)
    step_seconds = rehearse(training, training.evaluation, console)
    assert len(calls) == 2 * REHEARSAL_STEPS  # two micro-batches a step
    assert step_seconds > 0
    assert training.budget.pause_seconds > 0
    assert console.file.getvalue() == ""


def test_a_loss_that_is_no_number_is_told_with_what_to_do(console):
    training = make_training(lambda model, batch: Loss(model(batch.ids).sum() * math.nan, torch.tensor(1.0)))
    with pytest.raises(UserError, match=r"nothing has been written yet.*lower --learning-rate"):
        rehearse(training, training.evaluation, console)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_step_that_does_not_fit_is_told_with_what_to_do(console, error):
    training = make_training(loss_that_raises(error))
    with pytest.raises(UserError, match="2 sequences does not fit into memory: make --micro-batch-size"):
        rehearse(training, training.evaluation, console)


def test_other_faults_are_not_hidden(console):
    training = make_training(loss_that_raises(RuntimeError("ours")))
    with pytest.raises(RuntimeError, match="ours"):
        rehearse(training, training.evaluation, console)
