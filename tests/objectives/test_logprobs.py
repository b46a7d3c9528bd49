"""Log-probabilities and entropy."""

import torch
from completions import random

from folio.objectives.logprobs import entropy, token_logprobs


def test_logprobs_are_those_of_the_tempered_distribution():
    logits, targets = random(2, 3, 5), torch.tensor([[0, 4, 2], [1, 1, 3]])
    probabilities = (logits / 0.7).softmax(-1)
    for b in range(2):
        for t in range(3):
            expected = probabilities[b, t, targets[b, t]].log()
            torch.testing.assert_close(token_logprobs(logits, targets, 0.7)[b, t], expected)
    expected = torch.distributions.Categorical(logits=logits / 0.7).entropy()
    torch.testing.assert_close(entropy(logits, 0.7), expected)
