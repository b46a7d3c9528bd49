"""The losses of preferences and of reinforcement learning, against their equations written out."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from folio.objectives.dpo import implied_reward_loss
from folio.objectives.grpo import clipped_loss_with_kl, kl_k3
from folio.objectives.logprobs import entropy, token_logprobs
from folio.objectives.ppo import policy_loss, value_loss
from folio.objectives.reward import bradley_terry_loss


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_logprobs_are_those_of_the_tempered_distribution():
    logits, targets = random(2, 3, 5), torch.tensor([[0, 4, 2], [1, 1, 3]])
    probabilities = (logits / 0.7).softmax(-1)
    for b in range(2):
        for t in range(3):
            expected = probabilities[b, t, targets[b, t]].log()
            torch.testing.assert_close(token_logprobs(logits, targets, 0.7)[b, t], expected)
    expected = torch.distributions.Categorical(logits=logits / 0.7).entropy()
    torch.testing.assert_close(entropy(logits, 0.7), expected)


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


def test_dpo_of_the_reference_itself_is_undecided():
    chosen, rejected = random(4), random(4, seed=1)
    loss = implied_reward_loss(chosen, rejected, chosen, rejected, beta=0.1)
    assert loss.total.item() == pytest.approx(4 * math.log(2))
    assert loss.metrics["accuracy"] == 2.0


def test_dpo_is_bradley_terry_on_implied_rewards():
    chosen, rejected, ref_chosen, ref_rejected = (random(6, seed=seed) for seed in range(4))
    ours = implied_reward_loss(chosen, rejected, ref_chosen, ref_rejected, beta=0.3)
    theirs = bradley_terry_loss(0.3 * (chosen - ref_chosen), 0.3 * (rejected - ref_rejected))
    torch.testing.assert_close(ours.total, theirs.total)
    torch.testing.assert_close(ours.metrics["margin"], theirs.metrics["margin"])


def test_on_the_first_pass_the_ratio_is_one_and_nothing_is_clipped():
    logprobs, advantages, mask = random(2, 4).requires_grad_(), random(2, 4, seed=1), torch.ones(2, 4)
    loss = policy_loss(logprobs, logprobs.detach(), advantages, mask, clip_range=0.2)
    assert loss.metrics["ratio"] == loss.count == 8
    assert loss.metrics["clip_fraction"] == loss.metrics["approx_kl"] == 0
    loss.total.backward()
    torch.testing.assert_close(logprobs.grad, -advantages)  # the policy gradient itself


@given(st.integers(0, 50), st.floats(0.05, 0.5))
def test_the_clipped_loss_is_the_papers(seed, clip_range):
    new, old, advantages = (random(2, 5, seed=3 * seed + i) for i in range(3))
    mask = (random(2, 5, seed=999 + seed) > 0).float()
    expected = clipped = 0.0
    for b in range(2):
        for t in range(5):
            ratio = math.exp(new[b, t] - old[b, t])
            held = min(max(ratio, 1 - clip_range), 1 + clip_range)
            surrogate = min(ratio * advantages[b, t].item(), held * advantages[b, t].item())
            expected -= mask[b, t].item() * surrogate
            clipped += mask[b, t].item() * (surrogate < ratio * advantages[b, t].item() - 1e-9)
    loss = policy_loss(new, old, advantages, mask, clip_range)
    assert loss.total.item() == pytest.approx(expected, abs=1e-4)
    assert loss.count == mask.sum()
    assert loss.metrics["clip_fraction"].item() == pytest.approx(clipped)


def test_what_is_masked_gives_no_gradient():
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    new = random(2, 3).requires_grad_()
    old, ref, advantages = (random(2, 3, seed=seed) for seed in (1, 2, 3))
    losses = (
        clipped_loss_with_kl(new, old, ref, advantages, mask, clip_range=0.2, kl_coef=0.1),
        value_loss(new, old, ref, mask, clip_range=0.2),
    )
    for loss in losses:
        (gradient,) = torch.autograd.grad(loss.total, new)
        assert (gradient[mask == 0] == 0).all()
        assert (gradient[mask == 1] != 0).any()


def test_a_wild_ratio_stays_finite():
    new = torch.tensor([[500.0]], requires_grad=True)
    loss = clipped_loss_with_kl(
        new, -new.detach(), new.detach() - 900, torch.ones(1, 1), torch.ones(1, 1), clip_range=0.2, kl_coef=1
    )
    assert torch.isfinite(loss.total)


def test_the_value_is_held_near_what_it_was():
    values, old, returns = torch.tensor([[2.0, 0.1]]), torch.zeros(1, 2), torch.tensor([[3.0, 1.0]])
    loss = value_loss(values, old, returns, torch.ones(1, 2), clip_range=0.2)
    assert loss.total.item() == pytest.approx(0.5 * ((0.2 - 3) ** 2 + (0.1 - 1) ** 2))
    assert loss.metrics["value_clip_fraction"] == 1


def test_k3_estimates_the_kl():
    torch.manual_seed(0)
    policy, reference = random(6), random(6, seed=1)
    p, q = policy.log_softmax(0), reference.log_softmax(0)
    tokens = torch.multinomial(p.exp(), 200_000, replacement=True)
    exact = (p.exp() * (p - q)).sum()
    estimates = kl_k3(p[tokens][None], q[tokens][None])
    assert (estimates >= 0).all()
    torch.testing.assert_close(estimates.mean(), exact, rtol=0.03, atol=0.0)
