"""DPO, against its equation written out."""

import math

import pytest
import torch
from completions import PAIRS, one_by_one, random
from random_models import random_gpt

from folio.objectives.dpo import dpo_loss, implied_margins, implied_reward_loss
from folio.objectives.logprobs import completion_logprobs
from folio.objectives.reward import bradley_terry_loss


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
