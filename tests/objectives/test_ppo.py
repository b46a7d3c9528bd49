"""PPO's losses, against the paper."""

import math
from dataclasses import replace

import pytest
import torch
from completions import CLIP, PAIRS, one_by_one, random
from hypothesis import given
from hypothesis import strategies as st

from folio.objectives.grpo import clipped_loss_with_kl
from folio.objectives.ppo import policy_loss, ppo_loss, value_loss


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


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_ppo_is_the_paper_token_by_token(ppo_batch, learner, temperature):
    total = policy_total = value_total = entropy_total = count = clipped = 0.0
    for row, (prompt, completion) in enumerate(PAIRS):
        ids = [*prompt, *completion]
        logits, values = one_by_one(learner.policy, ids), one_by_one(learner.critic, ids)
        for t in range(len(prompt) - 1, len(ids) - 1):  # predicts token t + 1
            p = (logits[t] / temperature).softmax(-1)
            old_value, target = ppo_batch.old_values[row, t].item(), ppo_batch.returns[row, t].item()
            advantage, value = ppo_batch.advantages[row, t].item(), values[t].item()
            ratio = p[ids[t + 1]].item() / math.exp(ppo_batch.old_logprobs[row, t])
            surrogate = min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
            held = old_value + min(max(value - old_value, -0.3), 0.3)
            error = max((value - target) ** 2, (held - target) ** 2)
            policy_total -= surrogate
            value_total += 0.5 * error
            entropy_total -= (p * p.log()).sum().item()
            clipped += surrogate < ratio * advantage - 1e-6
            count += 1
            total += -surrogate + 0.1 * 0.5 * error
    loss = ppo_loss(learner, ppo_batch, **CLIP, temperature=temperature)
    assert loss.total.item() == pytest.approx(total, rel=1e-4)
    assert loss.count.item() == count == sum(len(completion) for _, completion in PAIRS)
    assert loss.metrics["policy_loss"].item() == pytest.approx(policy_total, rel=1e-4)
    assert loss.metrics["value_loss"].item() == pytest.approx(value_total, rel=1e-4)
    assert loss.metrics["entropy"].item() == pytest.approx(entropy_total, rel=1e-4)
    assert loss.metrics["clip_fraction"].item() == clipped > 0


def test_a_critic_that_is_right_is_left_alone(ppo_batch, learner):
    """Also where the values are far from 0: the critic's mean is part of what it says."""
    learner.critic.score_mean = 3.0
    with torch.no_grad():
        values = learner.critic(ppo_batch.ids[:, :-1])
    right = replace(ppo_batch, returns=values, old_values=values)
    loss = ppo_loss(learner, right, **CLIP, temperature=1.0)
    assert loss.metrics["value_loss"].item() == pytest.approx(0, abs=1e-6)
