"""The reward model's loss."""

import math

import pytest
import torch
from completions import PAIRS
from random_models import random_scorer

from folio.objectives.reward import bradley_terry_loss, completion_scores


def test_bradley_terry_is_the_chance_of_the_better_one():
    chosen, rejected = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 1.0, 2.0])
    loss = bradley_terry_loss(chosen, rejected)
    by_hand = sum(
        -math.log(math.exp(c) / (math.exp(c) + math.exp(r))) for c, r in zip(chosen, rejected, strict=True)
    )
    assert loss.total.item() == pytest.approx(by_hand)
    assert loss.count == 3
    assert loss.metrics["accuracy"] == 1.5  # a win, a loss, a tie
    assert loss.metrics["margin"] == 0.0


def test_a_score_is_read_at_the_last_real_token(plain):
    model = random_scorer()
    for row, (prompt, completion) in enumerate(PAIRS):
        alone = model(torch.tensor([[*prompt, *completion]]))[0, -1]
        torch.testing.assert_close(completion_scores(model, plain)[row], alone, atol=1e-5, rtol=0)
