"""The losses of whole batches of completions: what they read, what counts, and what each token contributes."""

import math
from dataclasses import fields, replace
from functools import partial

import pytest
import torch
from random_models import END, PAD, random_gpt, random_scorer

from folio.batch import Completions
from folio.model.score import ActorCritic
from folio.objectives.dpo import dpo_loss, implied_margins
from folio.objectives.grpo import GRPOBatch, grpo_loss
from folio.objectives.logprobs import completion_logprobs
from folio.objectives.ppo import PPOBatch, ppo_loss
from folio.objectives.reward import completion_scores, reward_loss

PAIRS = [
    ([1, 2, 3], [4, 5, END]),
    ([6], [0, 1, 2, 3, END]),
    ([2, 2], [4]),
    ([5, 4, 3, 2, 1], [END]),
    ([1], [PAD, 3, END]),
    ([3, 1], [6, 6, 6, 6, 6, 6]),
    ([1], [1, 0]),  # answers to one prompt
    ([1, 2, 3], [5, 0, END]),
]
CLIP = {"clip_range": 0.2, "value_clip_range": 0.3, "vf_coef": 0.1}


def widened(batch, columns):
    """The same rows with more padding."""
    wider = {}
    for each in fields(batch):
        value = getattr(batch, each.name)
        filler = torch.full((len(value), columns), PAD if each.name == "ids" else 0, dtype=value.dtype)
        wider[each.name] = torch.cat([value, filler], dim=1)
    return replace(batch, **wider)


@pytest.fixture
def plain():
    return Completions.from_pairs(PAIRS, PAD)


@pytest.fixture
def numbers(plain):
    """Random ones for each predicted token: (B, T - 1)."""
    generator = torch.Generator().manual_seed(0)
    return lambda scale=1.0: scale * torch.randn(plain.mask[:, 1:].shape, generator=generator)


@pytest.fixture
def ppo_batch(plain, numbers):
    return PPOBatch(
        plain.ids, plain.mask, numbers() - 3, numbers(), advantages=numbers(), returns=numbers(2.0)
    )


@pytest.fixture
def grpo_batch(plain, numbers):
    return GRPOBatch(plain.ids, plain.mask, numbers() - 3, numbers() - 3, advantages=numbers())


@pytest.fixture
def learner():
    return ActorCritic(random_gpt(), random_scorer())


def one_by_one(model, ids):
    """What a model says after each prefix of a row, read alone and without anything behind it."""
    return [model(torch.tensor([ids[:n]]))[0, -1] for n in range(1, len(ids))]


def test_a_score_is_read_at_the_last_real_token(plain):
    model = random_scorer()
    for row, (prompt, completion) in enumerate(PAIRS):
        alone = model(torch.tensor([[*prompt, *completion]]))[0, -1]
        torch.testing.assert_close(completion_scores(model, plain)[row], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("columns", [1, 7])
def test_no_loss_sees_the_padding(plain, ppo_batch, grpo_batch, learner, columns):
    for function, model, batch in losses(plain, ppo_batch, grpo_batch, learner):
        narrow, wide = function(model, batch), function(model, widened(batch, columns))
        torch.testing.assert_close(narrow.total, wide.total, rtol=1e-5, atol=1e-5)
        assert narrow.count == wide.count
        for name, value in narrow.metrics.items():
            torch.testing.assert_close(value, wide.metrics[name], rtol=1e-5, atol=1e-5)


def losses(plain, ppo_batch, grpo_batch, learner):
    return (
        (reward_loss, learner.critic, plain),
        (partial(grpo_loss, clip_range=0.2, kl_coef=0.1, temperature=0.7), learner.policy, grpo_batch),
        (partial(ppo_loss, **CLIP, temperature=0.7), learner, ppo_batch),
    )


def test_padding_gets_no_gradient(plain, ppo_batch, grpo_batch, learner):
    """But where it was written itself (row 4), it is a token like any other."""
    rows = [row for row in range(len(PAIRS)) if row != 4]
    for function, model, batch in losses(plain, ppo_batch, grpo_batch, learner):
        model.zero_grad()
        function(model, widened(batch.rows(rows[1:]), 3)).total.backward()
        for name, parameter in model.named_parameters():
            if name.endswith("embedding.weight"):
                assert (parameter.grad[PAD] == 0).all()
                assert (parameter.grad[1] != 0).any()


def test_prompt_and_padding_have_no_say_in_the_loss(ppo_batch, grpo_batch, learner):
    """What is recorded for tokens that were not sampled may be anything."""
    for function, model, batch in losses(None, ppo_batch, grpo_batch, learner)[1:]:
        expected = function(model, batch)
        outside = batch.mask[:, 1:] == 0
        wild = {each.name: getattr(batch, each.name).clone() for each in fields(batch)}
        for name, value in wild.items():
            if name not in ("ids", "mask"):
                value[outside] = 50.0
        torch.testing.assert_close(function(model, replace(batch, **wild)).total, expected.total)


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


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_grpo_is_the_paper_token_by_token(grpo_batch, temperature):
    model, total, kl_total, count = random_gpt(), 0.0, 0.0, 0
    for row, (prompt, completion) in enumerate(PAIRS):
        ids = [*prompt, *completion]
        logits = one_by_one(model, ids)
        for t in range(len(prompt) - 1, len(ids) - 1):
            logprob = (logits[t] / temperature).log_softmax(-1)[ids[t + 1]].item()
            ratio = math.exp(logprob - grpo_batch.old_logprobs[row, t])
            advantage = grpo_batch.advantages[row, t].item()
            to_reference = grpo_batch.ref_logprobs[row, t].item() - logprob
            kl = math.exp(to_reference) - to_reference - 1
            total += -min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage) + 0.1 * kl
            kl_total += kl
            count += 1
    loss = grpo_loss(model, grpo_batch, clip_range=0.2, kl_coef=0.1, temperature=temperature)
    assert loss.total.item() == pytest.approx(total, rel=1e-4)
    assert loss.metrics["kl_loss"].item() == pytest.approx(kl_total, rel=1e-4)
    assert loss.count.item() == count


def test_dpo_reads_the_completion_and_its_end_and_nothing_of_the_prompt(plain):
    model = random_gpt()
    found = completion_logprobs(model, plain)
    for row, (prompt, completion) in enumerate(PAIRS):
        ids = [*prompt, *completion]
        logits = one_by_one(model, ids)
        expected = sum(logits[t].log_softmax(-1)[ids[t + 1]] for t in range(len(prompt) - 1, len(ids) - 1))
        torch.testing.assert_close(found[row], expected, atol=1e-4, rtol=0)


def test_dpo_compares_the_two_halves_of_a_batch(plain):
    model, reference, n = random_gpt(), random_gpt(3), len(PAIRS) // 2
    rewards = 0.3 * (completion_logprobs(model, plain) - completion_logprobs(reference, plain)).detach()
    loss = dpo_loss(model, plain, reference=reference, beta=0.3, nll_coef=0.0)
    margins = rewards[:n] - rewards[n:]
    assert loss.count == n
    assert loss.total.item() == pytest.approx((1 + (-margins).exp()).log().sum().item(), rel=1e-4)
    assert loss.metrics["chosen_reward"].item() == pytest.approx(rewards[:n].sum().item(), rel=1e-4)
    assert loss.metrics["rejected_reward"].item() == pytest.approx(rewards[n:].sum().item(), rel=1e-4)
    torch.testing.assert_close(implied_margins(model, plain, reference=reference, beta=0.3), margins)


def test_nll_holds_the_chosen_answer_up_token_by_token(plain):
    model, reference, n = random_gpt(), random_gpt(3), len(PAIRS) // 2
    pairs, both = (
        dpo_loss(model, plain, reference=reference, beta=0.3, nll_coef=coef) for coef in (0.0, 0.5)
    )
    lengths = torch.tensor([len(completion) for _, completion in PAIRS[:n]])
    nll = -(completion_logprobs(model, plain)[:n] / lengths).sum().item()
    assert both.metrics["nll"].item() == pytest.approx(nll, rel=1e-5)
    assert (both.total - pairs.total).item() == pytest.approx(0.5 * nll, rel=1e-4)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_the_cut_into_micro_batches_changes_no_gradient(ppo_batch, grpo_batch, learner, size):
    for function, model, batch in losses(None, ppo_batch, grpo_batch, learner)[1:]:
        gradients = []
        for n in (len(PAIRS), size):
            model.zero_grad()
            parts = [batch.rows(list(range(len(PAIRS)))[first : first + n]) for first in range(0, 8, n)]
            found = [function(model, part) for part in parts]
            for loss in found:
                loss.total.backward()
            count = sum(loss.count.item() for loss in found)
            gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]) / count)
        torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_a_group_of_equals_still_carries_its_kl(grpo_batch):
    """A loss may be near 0, and its gradient right: without advantages, only the KL moves the policy."""
    equal = replace(grpo_batch, advantages=torch.zeros_like(grpo_batch.advantages))
    for kl_coef, moves in ((0.0, False), (0.1, True)):
        model = random_gpt()
        grpo_loss(model, equal, clip_range=0.2, kl_coef=kl_coef, temperature=1.0).total.backward()
        assert any((p.grad != 0).any() for p in model.parameters()) is moves


def test_every_token_weighs_the_same_however_long_its_completion(grpo_batch):
    """Not a mean of each completion, which would make wrong long answers cheap (Liu et al., 2025)."""
    model = random_gpt()
    function = partial(grpo_loss, clip_range=0.2, kl_coef=0.0, temperature=1.0)
    parts = [function(model, grpo_batch.rows([row])) for row in range(len(PAIRS))]
    assert [part.count.item() for part in parts] == [len(completion) for _, completion in PAIRS]
    whole = function(model, grpo_batch)
    assert whole.total.item() == pytest.approx(sum(part.total.item() for part in parts), rel=1e-4)


def test_a_critic_that_is_right_is_left_alone(ppo_batch, learner):
    """Also where the values are far from 0: the critic's mean is part of what it says."""
    learner.critic.score_mean = 3.0
    with torch.no_grad():
        values = learner.critic(ppo_batch.ids[:, :-1])
    right = replace(ppo_batch, returns=values, old_values=values)
    loss = ppo_loss(learner, right, **CLIP, temperature=1.0)
    assert loss.metrics["value_loss"].item() == pytest.approx(0, abs=1e-6)
