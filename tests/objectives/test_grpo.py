"""GRPO's loss, against the paper."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from completions import PAIRS, one_by_one, random
from random_models import random_gpt

from folio.objectives.grpo import grpo_loss, kl_k3


def test_k3_estimates_the_kl():
    torch.manual_seed(0)
    policy, reference = random(6), random(6, seed=1)
    p, q = policy.log_softmax(0), reference.log_softmax(0)
    tokens = torch.multinomial(p.exp(), 200_000, replacement=True)
    exact = (p.exp() * (p - q)).sum()
    estimates = kl_k3(p[tokens][None], q[tokens][None])
    assert (estimates >= 0).all()
    torch.testing.assert_close(estimates.mean(), exact, rtol=0.03, atol=0.0)


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
