"""Completions sampled from a policy, and their scores."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_models import END, PAD, TOKENIZER, random_gpt

from folio.objectives.logprobs import token_logprobs
from folio.rl.rewards import WeightedSum
from folio.rl.rollouts import Prompt, PromptOrder, RolloutSampler, sample_completions
from folio.tokenizer.chat_template import prompt_ids


def prompt(text):
    return Prompt(text, prompt_ids(TOKENIZER, [{"role": "user", "content": text}]))


PROMPTS = [prompt(text) for text in ("a", "bad cafe", "deaf", "f f f f", "bed", "ace")]


def count_a(samples):
    return [float(sample.completion.count("a")) for sample in samples]


def sampler(policy=None, **changes):
    policy = policy or random_gpt()
    settings = {"max_new_tokens": 10, "temperature": 1.0, "missing_stop_penalty": 0.5, "batch_size": 3}
    reference = random_gpt(0)
    return RolloutSampler(
        policy=policy, reference=reference, tokenizer=TOKENIZER, reward=WeightedSum([(count_a, 1.0)]),
        **{**settings, **changes},
    )  # fmt: skip


def write(model, prompts=PROMPTS, temperature=1.0, seed=3, max_new_tokens=12):
    return sample_completions(
        model, TOKENIZER, prompts, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed
    )


@pytest.mark.parametrize("temperature", [1.0, 0.7, 1.5])
def test_the_engines_logprobs_are_the_trainers(temperature):
    """Sampler and trainer must mean the same distribution: nothing is cut off it, and both divide by the temperature."""
    model = random_gpt()
    for sample in write(model, temperature=temperature):
        ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])
        with torch.no_grad():
            expected = token_logprobs(model(ids[:, :-1]), ids[:, 1:], temperature)[0]
        found = torch.tensor(sample.logprobs)
        torch.testing.assert_close(found, expected[len(sample.prompt_ids) - 1 :], atol=1e-4, rtol=0)


def test_samples_are_drawn_from_the_whole_distribution():
    """One token after the same prompt, many times: as often as its probability says, unlikely ones too."""
    model, n = random_gpt(), 4000
    with torch.no_grad():
        p = (model(torch.tensor([PROMPTS[0].ids]))[0, -1] / 1.3).softmax(-1)
    drawn = Counter(
        sample.completion_ids[0] for sample in write(model, [PROMPTS[0]] * n, 1.3, max_new_tokens=1)
    )
    for token, probability in enumerate(p.tolist()):
        spread = (n * probability * (1 - probability)) ** 0.5
        assert abs(drawn[token] - n * probability) < 5 * spread + 2


def test_prompts_of_different_length_do_not_disturb_each_other():
    """The engine pads on the left and gives each row positions of its own."""
    model = random_gpt()
    together = write(model)
    (alone,) = write(model, PROMPTS[:1])
    assert together[0].completion_ids == alone.completion_ids
    assert together[0].logprobs == pytest.approx(alone.logprobs, abs=1e-4)
    assert len({len(sample.prompt_ids) for sample in together}) > 2


def test_a_completion_is_cut_at_its_end_token_and_keeps_it():
    samples = write(random_gpt(), PROMPTS * 8)
    assert {sample.is_stopped for sample in samples} == {True, False}
    for sample in samples:
        assert (sample.completion_ids[-1] == END) is sample.is_stopped
        assert END not in sample.completion_ids[:-1]
        assert "<|" not in sample.completion
        assert len(sample.logprobs) == len(sample.completion_ids) <= 12
        assert sample.is_stopped or len(sample.completion_ids) == 12


def test_of_what_was_written_special_tokens_are_not_shown():
    samples = write(random_gpt(), PROMPTS * 8)
    assert any(PAD in sample.completion_ids for sample in samples)  # a token like others, if it was drawn
    special = set(TOKENIZER.special_ids.values())
    for sample in samples:
        plain = [i for i in sample.completion_ids if i not in special]
        assert TOKENIZER.encode(sample.completion).tolist() == plain


@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 3))
def test_all_prompts_come_once_before_any_comes_twice(n, size, seed):
    prompts = [Prompt(str(i), [i]) for i in range(n)]
    order = PromptOrder(prompts, seed)
    taken = [each.text for iteration in range(2 * n) for each in order.take(iteration, size)]
    for epoch in range(size * 2):
        assert sorted(taken[epoch * n : (epoch + 1) * n]) == sorted(each.text for each in prompts)
    assert order.take(3, size) == PromptOrder(prompts, seed).take(3, size)  # of seed and number alone


def test_epochs_and_seeds_have_orders_of_their_own():
    prompts = [Prompt(str(i), [i]) for i in range(20)]
    orders = [PromptOrder(prompts, seed).take(i, 20) for seed in (0, 1) for i in (0, 1)]
    assert len({tuple(each.text for each in order) for order in orders}) == 4


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_reference_divides_by_the_same_temperature(temperature):
    rollout = sampler(policy=random_gpt(5), temperature=temperature).sample(PROMPTS[:4], seed=1)
    reference = random_gpt(0)
    for row, sample in enumerate(rollout.samples):
        ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])
        with torch.no_grad():
            logprobs = (reference(ids)[0] / temperature).log_softmax(-1)
        for t in range(len(sample.prompt_ids) - 1, ids.shape[1] - 1):
            expected = logprobs[t, ids[0, t + 1]].item()
            assert rollout.ref_logprobs[row, t].item() == pytest.approx(expected, abs=1e-4)


def test_metrics_are_their_definitions():
    made = sampler(policy=random_gpt(5))
    rollout = made.sample([*PROMPTS, *PROMPTS[:3]], seed=1)
    samples, metrics = rollout.samples, rollout.metrics()
    k1 = k3 = 0.0
    for row, sample in enumerate(samples):
        for i, logprob in enumerate(sample.logprobs):
            reference = rollout.ref_logprobs[row, len(sample.prompt_ids) - 1 + i].item()
            k1 += logprob - reference
            k3 += math.exp(reference - logprob) - (reference - logprob) - 1
    rewards = torch.tensor(count_a(samples))
    assert metrics["reward"] == pytest.approx(rewards.mean().item())
    assert metrics["reward_std"] == pytest.approx(rewards.std(correction=0).item())
    assert metrics["kl"] == pytest.approx(k1 / 9, rel=1e-4)
    assert metrics["kl_k3"] == pytest.approx(k3 / 9, rel=1e-3)
    assert metrics["length"] == pytest.approx(sum(len(sample.completion_ids) for sample in samples) / 9)
    assert metrics["stop_share"] == pytest.approx(sum(sample.is_stopped for sample in samples) / 9)
    assert 0 < metrics["stop_share"] < 1


def test_the_penalty_for_a_missing_end_is_not_part_of_the_reward():
    rollout = sampler(missing_stop_penalty=0.5).sample(PROMPTS * 4, seed=1)
    taken = (rollout.rewards - rollout.scores).tolist()
    assert taken == [0.0 if sample.is_stopped else 0.5 for sample in rollout.samples]
    assert set(taken) == {0.0, 0.5}


def test_how_many_rows_go_through_a_model_together_does_not_matter():
    made = sampler(policy=random_gpt(5))
    samples = made.sample([*PROMPTS, *PROMPTS[:2]], seed=1).samples
    few, many = (replace(made, batch_size=n).score(samples) for n in (1, 100))
    torch.testing.assert_close(few.ref_logprobs * few.mask, many.ref_logprobs * many.mask, atol=1e-5, rtol=0)
