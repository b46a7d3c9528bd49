"""Log-probabilities and entropy."""

import pytest
import torch
from completions import random
from random_models import random_gpt

from folio.objectives.logprobs import entropy, sampled_logprobs, token_logprobs, token_losses


def test_logprobs_are_those_of_the_tempered_distribution():
    logits, targets = random(2, 3, 5), torch.tensor([[0, 4, 2], [1, 1, 3]])
    probabilities = (logits / 0.7).softmax(-1)
    for b in range(2):
        for t in range(3):
            expected = probabilities[b, t, targets[b, t]].log()
            torch.testing.assert_close(token_logprobs(logits, targets, 0.7)[b, t], expected)
    expected = torch.distributions.Categorical(logits=logits / 0.7).entropy()
    torch.testing.assert_close(entropy(logits, 0.7), expected)


def test_logits_are_held_in_pieces_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than LOGITS at a time; losses and gradients are those of all at once."""
    model = random_gpt()
    ids, targets = torch.randint(model.config.vocab_size, (2, 3, 9)).unbind()
    held: list[int] = []
    model.head.register_forward_hook(lambda head, inputs, logits: held.append(logits.numel()))

    def losses_and_gradients() -> tuple[torch.Tensor, list[torch.Tensor]]:
        model.zero_grad()
        losses = token_losses(model, ids, targets)
        hidden_states = model.hidden_states(ids).flatten(0, 1)
        logprobs, entropies = sampled_logprobs(model, hidden_states, targets.flatten(), 0.7)
        assert not entropies.requires_grad
        (losses.sum() - 2 * logprobs.sum()).backward()
        values = torch.cat([losses.flatten(), logprobs, entropies])
        return values.detach(), [parameter.grad.clone() for parameter in model.parameters()]

    values, gradients = losses_and_gradients()
    assert set(held) == {27 * model.config.vocab_size}
    held.clear()
    monkeypatch.setattr("folio.objectives.logprobs.LOGITS", 5 * model.config.vocab_size + 3)
    in_pieces, in_pieces_gradients = losses_and_gradients()
    assert max(held) == 5 * model.config.vocab_size
    assert len(held) == 2 * 2 * 6  # twice, for the gradient
    torch.testing.assert_close(in_pieces, values)
    torch.testing.assert_close(in_pieces_gradients, gradients)
