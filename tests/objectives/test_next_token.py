"""The next-token loss against a loop that anyone can check."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from folio.batch import Batch
from folio.objectives.next_token import next_token_loss


class Scores(nn.Module):
    """A model whose scores are given."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, ids: Tensor) -> Tensor:
        return self.logits


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(0, 1000))
def test_equals_a_naive_loop(n_rows, length, vocab_size, seed):
    torch.manual_seed(seed)
    logits = 3 * torch.randn(n_rows, length, vocab_size)
    targets = torch.randint(vocab_size, (n_rows, length))
    weights = torch.rand(n_rows, length) * (torch.rand(n_rows, length) > 0.3)
    loss = next_token_loss(Scores(logits), Batch(torch.zeros_like(targets), targets, weights))
    total = 0.0
    for row in range(n_rows):
        for t in range(length):
            scores = logits[row, t].tolist()
            log_sum = math.log(sum(math.exp(score) for score in scores))
            total += weights[row, t].item() * (log_sum - scores[targets[row, t]])
    torch.testing.assert_close(loss.total.item(), total, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss.count.item(), weights.double().sum().item(), rtol=1e-6, atol=1e-6)
    assert loss.metrics == {}


def test_even_scores_give_the_logarithm_of_the_vocabulary():
    batch = Batch.from_windows(torch.randint(7, (2, 6)))
    loss = next_token_loss(Scores(torch.zeros(2, 5, 7)), batch)
    torch.testing.assert_close((loss.total / loss.count).item(), math.log(7))


def test_a_weight_of_0_gives_no_gradient():
    model = Scores(torch.randn(2, 3, 5))
    batch = Batch.from_windows(torch.randint(5, (2, 4)))
    batch.weights[0, 1] = 0
    next_token_loss(model, batch).total.backward()
    assert model.logits.grad[0, 1].abs().sum() == 0
    assert (model.logits.grad.abs().sum(-1) > 0).sum() == 5


def test_low_precision_scores_are_summed_in_float32():
    model = Scores(torch.randn(1, 3, 5).bfloat16())
    loss = next_token_loss(model, Batch.from_windows(torch.randint(5, (1, 4))))
    assert loss.total.dtype == torch.float32
