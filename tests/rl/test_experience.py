"""From samples to what is learned from them."""

import math
from dataclasses import replace

import pytest
import torch
from random_models import TOKENIZER, random_gpt, random_scorer

from folio.model.score import ActorCritic
from folio.objectives.grpo import grpo_loss
from folio.objectives.ppo import ppo_loss
from folio.rl.experience import GRPOExperience, PPOExperience, RolloutSampler, explained_variance
from folio.rl.rewards import WeightedSum
from folio.rl.rollouts import Prompt, PromptOrder
from folio.tokenizer.chat_template import prompt_ids

PROMPTS = [
    Prompt(text, prompt_ids(TOKENIZER, [{"role": "user", "content": text}]))
    for text in ("a", "bad cafe", "deaf", "f f f f")
]
TEMPERATURES = pytest.mark.parametrize("temperature", [1.0, 0.7])


def count_a(samples):
    return [float(sample.completion.count("a")) for sample in samples]


def writing(policy=None, **changes):
    policy = policy or random_gpt()
    settings = {"max_new_tokens": 10, "temperature": 1.0, "missing_stop_penalty": 0.5, "batch_size": 3}
    reference = random_gpt(0)
    return RolloutSampler(
        policy=policy, reference=reference, tokenizer=TOKENIZER, reward=WeightedSum([(count_a, 1.0)]),
        **{**settings, **changes},
    )  # fmt: skip


def ppo(**changes):
    settings = {
        "n_prompts": 7,
        "group_size": 1,
        "kl_coef": 0.1,
        "gamma": 0.9,
        "gae_lambda": 0.8,
        "whiten_rewards": False,
    }
    return PPOExperience(
        **{"writing": writing(), "critic": random_scorer(), "order": PromptOrder(PROMPTS, 1), **settings, **changes}
    )  # fmt: skip


def grpo(**changes):
    settings = {"n_prompts": 3, "group_size": 4, "scale": False}
    return GRPOExperience(**{"writing": writing(), "order": PromptOrder(PROMPTS, 1), **settings, **changes})


@TEMPERATURES
def test_on_the_first_pass_of_a_real_rollout_every_ratio_is_one(temperature):
    """The old log-probabilities are the engine's: this holds sampler and trainer together."""
    made = writing(temperature=temperature)

    def losses_of_ppo(batch):
        learner = ActorCritic(made.policy, random_scorer())
        return ppo_loss(
            learner, batch, clip_range=0.2, value_clip_range=0.2, vf_coef=0.1, temperature=temperature
        )

    for experience, loss in (
        (ppo(sampler=made), losses_of_ppo),
        (ppo(sampler=made, n_prompts=3, group_size=4), losses_of_ppo),
        (grpo(sampler=made), lambda batch: grpo_loss(
            made.policy, batch, clip_range=0.2, kl_coef=0.1, temperature=temperature
        )),
    ):  # fmt: skip
        batch, _ = experience(0)
        found = loss(batch)
        assert found.count == batch.mask[:, 1:].sum()
        assert found.metrics["ratio"].item() / found.count.item() == pytest.approx(1, abs=1e-4)
        assert found.metrics["approx_kl"].item() == pytest.approx(0, abs=1e-4)
        assert found.metrics["clip_fraction"] == 0


@TEMPERATURES
def test_a_policy_has_no_distance_from_itself(temperature):
    """Up to rounding: the engine's arithmetic is laid out otherwise than the trainer's."""
    for make in (ppo, grpo):
        _, figures = make(sampler=writing(temperature=temperature))(0)
        assert figures["kl"] == pytest.approx(0, abs=1e-4)
        assert figures["kl_k3"] == pytest.approx(0, abs=1e-6)


@TEMPERATURES
def test_the_reference_divides_by_the_same_temperature(temperature):
    written = writing(policy=random_gpt(5), temperature=temperature).sample(PromptOrder(PROMPTS, 1), 0, 4)
    reference = random_gpt(0)
    for row, sample in enumerate(written.samples):
        ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])
        with torch.no_grad():
            logprobs = (reference(ids)[0] / temperature).log_softmax(-1)
        for t in range(len(sample.prompt_ids) - 1, ids.shape[1] - 1):
            expected = logprobs[t, ids[0, t + 1]].item()
            assert written.ref_logprobs[row, t].item() == pytest.approx(expected, abs=1e-4)


def test_figures_are_their_definitions():
    made = writing(policy=random_gpt(5))
    written = made.sample(PromptOrder(PROMPTS, 1), 0, 9)
    samples, figures = written.samples, written.metrics()
    k1 = k3 = 0.0
    for row, sample in enumerate(samples):
        for i, logprob in enumerate(sample.logprobs):
            reference = written.ref_logprobs[row, len(sample.prompt_ids) - 1 + i].item()
            k1 += logprob - reference
            k3 += math.exp(reference - logprob) - (reference - logprob) - 1
    rewards = torch.tensor(count_a(samples))
    assert figures["reward"] == pytest.approx(rewards.mean().item())
    assert figures["reward_std"] == pytest.approx(rewards.std(correction=0).item())
    assert figures["kl"] == pytest.approx(k1 / 9, rel=1e-4)
    assert figures["kl_k3"] == pytest.approx(k3 / 9, rel=1e-3)
    assert figures["length"] == pytest.approx(sum(len(sample.completion_ids) for sample in samples) / 9)
    assert figures["stop_share"] == pytest.approx(sum(sample.is_stopped for sample in samples) / 9)
    assert 0 < figures["stop_share"] < 1


def test_an_answer_without_an_end_costs_a_penalty_that_is_no_part_of_the_reward():
    written = writing(missing_stop_penalty=0.5).sample(PromptOrder(PROMPTS, 1), 0, 9)
    taken = (written.rewards - written.scores).tolist()
    assert taken == [0.0 if sample.is_stopped else 0.5 for sample in written.samples]
    assert set(taken) == {0.0, 0.5}


def test_ppos_advantages_are_those_of_a_plain_loop():
    made = writing(policy=random_gpt(5))
    experience = ppo(sampler=made)
    batch, figures = experience(2)
    written = made.sample(experience.order, 2, 7)
    assert torch.equal(batch.ids, written.completions.ids)
    advantages, returns, values = [], [], []
    for row, sample in enumerate(written.samples):
        ids, start, n = (
            [*sample.prompt_ids, *sample.completion_ids],
            len(sample.prompt_ids) - 1,
            len(sample.logprobs),
        )
        with torch.no_grad():
            value = [experience.critic(torch.tensor([ids[: start + i + 1]]))[0, -1].item() for i in range(n)]
        rewards = [
            -0.1 * (sample.logprobs[i] - written.ref_logprobs[row, start + i].item()) for i in range(n)
        ]
        rewards[-1] += sample.completion.count("a") - (0 if sample.is_stopped else 0.5)
        ahead, found = 0.0, []
        for i in reversed(range(n)):
            ahead = rewards[i] + (0.9 * value[i + 1] if i + 1 < n else 0) - value[i] + 0.9 * 0.8 * ahead
            found.insert(0, ahead)
        advantages += found
        values += value
        returns += [a + v for a, v in zip(found, value, strict=True)]
    mask = batch.mask[:, 1:].bool()
    raw = torch.tensor(advantages)
    whitened = (raw - raw.mean()) / raw.std(correction=0)
    torch.testing.assert_close(batch.advantages[mask], whitened, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(batch.returns[mask], torch.tensor(returns), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(batch.old_values[mask], torch.tensor(values), atol=1e-4, rtol=1e-4)
    assert (batch.advantages[~mask] == 0).all()
    errors, happened = torch.tensor(returns) - torch.tensor(values), torch.tensor(returns)
    expected = 1 - errors.var(correction=0) / happened.var(correction=0)
    assert figures["explained_variance"] == pytest.approx(expected.item(), abs=1e-4)


def test_whitened_rewards_have_a_deviation_of_one_and_keep_their_mean():
    plain, white = (
        ppo(gamma=1.0, gae_lambda=1.0)(0)[0],
        ppo(gamma=1.0, gae_lambda=1.0, whiten_rewards=True)(0)[0],
    )
    assert torch.equal(plain.ids, white.ids)
    mask = plain.mask[:, 1:]

    def rewards(batch):  # with gamma and lambda 1, returns are sums of what is left
        later = torch.cat([batch.returns[:, 1:], torch.zeros(len(batch.returns), 1)], dim=1)
        return ((batch.returns - later) * mask)[mask.bool()]

    assert rewards(white).std(correction=0).item() == pytest.approx(1, abs=1e-3)
    assert rewards(white).mean().item() == pytest.approx(rewards(plain).mean().item(), abs=1e-4)


def test_how_a_critic_does_is_told():
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    returns = torch.tensor([[1.0, 2.0, 50.0], [4.0, 0.0, 0.0]])
    assert explained_variance(returns, returns, mask) == 1
    assert explained_variance(torch.full((2, 3), 7.0), returns, mask) == pytest.approx(0, abs=1e-6)
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3, abs=1e-5)


@pytest.mark.parametrize("scale", [False, True])
def test_grpos_advantages_compare_answers_to_the_same_prompt(scale):
    made = writing()
    batch, figures = grpo(sampler=made, scale=scale)(0)
    written = made.sample(PromptOrder(PROMPTS, 1), 0, 3, 4)
    scores, equal = written.scores.tolist(), 0
    for group in range(3):
        rows = range(4 * group, 4 * group + 4)
        assert len({written.samples[row].prompt for row in rows}) == 1
        mean = sum(scores[row] for row in rows) / 4
        std = (sum((scores[row] - mean) ** 2 for row in rows) / 3) ** 0.5
        equal += std == 0
        for row in rows:
            expected = (scores[row] - mean) / (std + 1e-6 if scale else 1)
            counted = batch.mask[row, 1:].bool()
            assert batch.advantages[row][counted].tolist() == pytest.approx(
                [expected] * int(counted.sum()), abs=1e-5
            )
            assert (batch.advantages[row][~counted] == 0).all()
    assert figures["equal_groups"] == pytest.approx(equal / 3)
    assert len({sample.completion for sample in written.samples[:4]}) > 1


def test_each_rollout_draws_anew_and_the_same_one_again_is_the_same():
    made = grpo()
    first, again, second = made(0)[0], made(0)[0], made(1)[0]
    assert torch.equal(first.ids, again.ids)
    assert torch.equal(first.old_logprobs, again.old_logprobs)
    assert first.ids.shape != second.ids.shape or not torch.equal(first.ids, second.ids)


def test_how_many_rows_go_through_a_model_together_does_not_matter():
    made = writing(policy=random_gpt(5))
    samples = made.sample(PromptOrder(PROMPTS, 1), 0, 8).samples
    few, many = (replace(made, batch_size=n).score(samples) for n in (1, 100))
    torch.testing.assert_close(few.ref_logprobs * few.mask, many.ref_logprobs * many.mask, atol=1e-5, rtol=0)
