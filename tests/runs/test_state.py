"""A model in training: what a checkpoint holds, and what comes back from it."""

import torch
from random_models import random_scorer
from tiny_training import make_report, make_training

from folio.files import damage
from folio.model.directory import load_model
from folio.tokenizer.directory import load_tokenizer


def losses(training, first_step):
    return [report.loss for report in training.reports(first_step)]


def test_from_a_checkpoint_training_goes_on_as_if_it_had_not_ended(tmp_path):
    training = make_training(steps=8)
    reports = training.reports(1)
    for _ in range(3):
        report = next(reports)
    training.best.update(3, 0.7)
    seconds = training.train_seconds
    training.save(tmp_path / "step-3", report)
    expected = [each.loss for each in reports]
    torch.manual_seed(1)  # another process would begin in another state, too
    other = make_training(steps=8, seed=5)
    assert other.load(tmp_path / "step-3") == report
    assert (other.tokens, other.train_seconds) == (3 * 32, seconds)
    assert other.best == training.best
    assert losses(other, 4) == expected
    for ours, theirs in zip(training.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_checkpoint_is_a_model_directory(tmp_path):
    training = make_training()
    training.save(tmp_path / "step-1", make_report(1))
    assert damage(tmp_path / "step-1") is None
    model = load_model(tmp_path / "step-1").eval()
    ids = torch.tensor([[0, 1, 2, 3]])
    assert torch.equal(model(ids), training.model.eval()(ids))
    assert load_tokenizer(tmp_path / "step-1") == training.tokenizer


def test_a_critic_is_saved_beside_the_model(tmp_path):
    training = make_training(critic=random_scorer(1))
    training.save(tmp_path / "step-1", make_report(1))
    other = make_training(critic=random_scorer(2))
    other.load(tmp_path / "step-1")
    ids = torch.tensor([[0, 1, 2, 3]])
    assert torch.equal(other.critic(ids), training.critic(ids))


def test_tokens_and_seconds_are_those_of_all_steps():
    training = make_training(steps=4)
    reports = list(training.reports(1))
    assert training.tokens == sum(report.n_tokens for report in reports) == 4 * 32
    assert training.train_seconds == sum(report.seconds for report in reports)
    assert [report.step for report in reports] == [1, 2, 3, 4]


def test_a_save_does_not_change_what_comes_after_it(tmp_path):
    torch.manual_seed(3)
    expected = losses(make_training(steps=4), 1)
    torch.manual_seed(3)
    training = make_training(steps=4)
    found = []
    for report in training.reports(1):
        training.save(tmp_path / f"step-{report.step}", report)
        found.append(report.loss)
    assert found == expected
