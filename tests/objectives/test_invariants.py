"""What holds for every loss over completions: padding, masks, micro-batches."""

from dataclasses import fields, replace
from functools import partial

import pytest
import torch
from completions import CLIP, PAIRS, widened
from random_models import PAD

from folio.objectives.grpo import grpo_loss
from folio.objectives.ppo import ppo_loss
from folio.objectives.reward import reward_loss


def losses(plain, ppo_batch, grpo_batch, learner):
    return (
        (reward_loss, learner.critic, plain),
        (partial(grpo_loss, clip_range=0.2, kl_coef=0.1, temperature=0.7), learner.policy, grpo_batch),
        (partial(ppo_loss, **CLIP, temperature=0.7), learner, ppo_batch),
    )


@pytest.mark.parametrize("columns", [1, 7])
def test_no_loss_sees_the_padding(plain, ppo_batch, grpo_batch, learner, columns):
    for function, model, batch in losses(plain, ppo_batch, grpo_batch, learner):
        narrow, wide = function(model, batch), function(model, widened(batch, columns))
        torch.testing.assert_close(narrow.total, wide.total, rtol=1e-5, atol=1e-5)
        assert narrow.count == wide.count
        for name, value in narrow.metrics.items():
            torch.testing.assert_close(value, wide.metrics[name], rtol=1e-5, atol=1e-5)


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
