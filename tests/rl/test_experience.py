"""From rollouts to training batches."""

import json

import pytest
import torch
from random_models import PAD, TOKENIZER, random_gpt, random_scorer

from folio.batch import Completions
from folio.checkpoint import load_state, save_state
from folio.model.score import ActorCritic
from folio.objectives.grpo import GRPOBatch, grpo_loss
from folio.objectives.ppo import ppo_loss
from folio.rl.experience import (
    GRPOCollector,
    PPOCollector,
    RolloutBatches,
    explained_variance,
    sample_groups,
)
from folio.rl.rewards import WeightedSum
from folio.rl.rollouts import Prompt, PromptOrder, RolloutSampler
from folio.tokenizer.chat_template import prompt_ids

PROMPTS = [
    Prompt(text, prompt_ids(TOKENIZER, [{"role": "user", "content": text}]))
    for text in ("a", "bad cafe", "deaf", "f f f f")
]
TEMPERATURES = pytest.mark.parametrize("temperature", [1.0, 0.7])


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


def ppo(**changes):
    settings = {
        "n_prompts": 7,
        "group_size": 1,
        "kl_coef": 0.1,
        "gamma": 0.9,
        "gae_lambda": 0.8,
        "whiten_rewards": False,
    }
    return PPOCollector(
        **{"sampler": sampler(), "critic": random_scorer(), "order": PromptOrder(PROMPTS, 1), **settings, **changes}
    )  # fmt: skip


def grpo(**changes):
    settings = {"n_prompts": 3, "group_size": 4, "scale": "none"}
    return GRPOCollector(**{"sampler": sampler(), "order": PromptOrder(PROMPTS, 1), **settings, **changes})


@TEMPERATURES
def test_on_the_first_pass_of_a_real_rollout_every_ratio_is_one(temperature):
    """The old log-probabilities are the engine's: this holds sampler and trainer together."""
    made = sampler(temperature=temperature)

    def losses_of_ppo(batch):
        learner = ActorCritic(made.policy, random_scorer())
        return ppo_loss(
            learner, batch, clip_range=0.2, value_clip_range=0.2, vf_coef=0.1, temperature=temperature
        )

    for collector, loss in (
        (ppo(sampler=made), losses_of_ppo),
        (ppo(sampler=made, n_prompts=3, group_size=4), losses_of_ppo),
        (grpo(sampler=made), lambda batch: grpo_loss(
            made.policy, batch, clip_range=0.2, kl_coef=0.1, temperature=temperature
        )),
    ):  # fmt: skip
        batch, _ = collector(0)
        found = loss(batch)
        assert found.count == batch.mask[:, 1:].sum()
        assert found.metrics["ratio"].item() / found.count.item() == pytest.approx(1, abs=1e-4)
        assert found.metrics["approx_kl"].item() == pytest.approx(0, abs=1e-4)
        assert found.metrics["clip_fraction"] == 0


@TEMPERATURES
def test_a_policy_has_no_distance_from_itself(temperature):
    """Up to rounding: the engine's arithmetic is laid out otherwise than the trainer's."""
    for make in (ppo, grpo):
        _, metrics = make(sampler=sampler(temperature=temperature))(0)
        assert metrics["kl"] == pytest.approx(0, abs=1e-4)
        assert metrics["kl_k3"] == pytest.approx(0, abs=1e-6)


def test_ppos_advantages_are_those_of_a_plain_loop():
    made = sampler(policy=random_gpt(5))
    collector = ppo(sampler=made)
    batch, metrics = collector(2)
    rollout = sample_groups(made, collector.order, 2, 7, 1)
    assert torch.equal(batch.ids, rollout.completions.ids)
    advantages, returns, values = [], [], []
    for row, sample in enumerate(rollout.samples):
        ids, start, n = (
            [*sample.prompt_ids, *sample.completion_ids],
            len(sample.prompt_ids) - 1,
            len(sample.logprobs),
        )
        with torch.no_grad():
            value = [collector.critic(torch.tensor([ids[: start + i + 1]]))[0, -1].item() for i in range(n)]
        rewards = [
            -0.1 * (sample.logprobs[i] - rollout.ref_logprobs[row, start + i].item()) for i in range(n)
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
    assert metrics["explained_variance"] == pytest.approx(expected.item(), abs=1e-4)


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


@pytest.mark.parametrize("scale", ["none", "std"])
def test_grpos_advantages_compare_answers_to_the_same_prompt(scale):
    made = sampler()
    batch, metrics = grpo(sampler=made, scale=scale)(0)
    rollout = sample_groups(made, PromptOrder(PROMPTS, 1), 0, 3, 4)
    scores, equal = rollout.scores.tolist(), 0
    for group in range(3):
        rows = range(4 * group, 4 * group + 4)
        assert len({rollout.samples[row].prompt for row in rows}) == 1
        mean = sum(scores[row] for row in rows) / 4
        std = (sum((scores[row] - mean) ** 2 for row in rows) / 3) ** 0.5
        equal += std == 0
        for row in rows:
            expected = (scores[row] - mean) / (std + 1e-6 if scale == "std" else 1)
            counted = batch.mask[row, 1:].bool()
            assert batch.advantages[row][counted].tolist() == pytest.approx(
                [expected] * int(counted.sum()), abs=1e-5
            )
            assert (batch.advantages[row][~counted] == 0).all()
    assert metrics["equal_groups"] == pytest.approx(equal / 3)
    assert len({sample.completion for sample in rollout.samples[:4]}) > 1


def test_each_rollout_draws_anew_and_the_same_one_again_is_the_same():
    made = grpo()
    first, again, second = made(0)[0], made(0)[0], made(1)[0]
    assert torch.equal(first.ids, again.ids)
    assert torch.equal(first.old_logprobs, again.old_logprobs)
    assert first.ids.shape != second.ids.shape or not torch.equal(first.ids, second.ids)


def rollout_of(iteration, n=10):
    """Rows that tell where they are from, of different lengths."""
    widths = [2 + (i * 7) % 5 for i in range(n)]
    ids, mask = torch.full((n, 6), -1), torch.zeros(n, 6)
    for row, width in enumerate(widths):
        ids[row, :width] = 100 * iteration + row
        mask[row, 1:width] = 1
    marks = ids[:, 1:].float()
    return GRPOBatch(ids, mask, marks, marks + 0.25, marks + 0.5), {"reward": 1.0 + iteration}


def batches(made=None, **changes):
    def collect(iteration):
        if made is not None:
            made.append(iteration)
        return rollout_of(iteration)

    settings = {"epochs": 2, "minibatch_size": 4, "micro_batch_size": 3, "seed": 1, **changes}
    return RolloutBatches(collect, GRPOBatch, **settings)


def rows_in(group):
    return [row for batch in group for row in batch.ids[:, 0].tolist()]


def test_each_epoch_visits_every_row_once_in_a_new_order():
    made = []
    source = batches(made)
    for rollout in range(3):
        epochs = [[rows_in(next(source)) for _ in range(3)] for _ in range(2)]
        for minibatches in epochs:
            assert [len(rows) for rows in minibatches] == [4, 4, 2]
            assert sorted(row for rows in minibatches for row in rows) == [
                100 * rollout + row for row in range(10)
            ]
        assert epochs[0] != epochs[1]
        assert made == list(range(rollout + 1))
        assert source.metrics() == {"rollout": rollout + 1, "reward": 1.0 + rollout}


def test_micro_batches_are_parts_of_a_minibatch_and_change_no_order():
    small, large = batches(micro_batch_size=1), batches(micro_batch_size=50)
    for _ in range(8):
        parts, whole = next(small), next(large)
        assert (len(whole), rows_in(parts)) == (1, rows_in(whole))
        lengths = whole[0].last.tolist()
        assert lengths == sorted(lengths), "rows of like length share a micro-batch"
        assert all(len(batch.ids) == 1 for batch in parts)
    assert [len(batch.ids) for batch in next(batches())] == [3, 1]


def test_answers_to_one_prompt_go_through_the_model_together():
    pairs = [([group] * (1 + group), [9] * (1 + (5 * row) % 7)) for group in range(3) for row in range(4)]
    written = Completions.from_pairs(pairs, PAD)
    nothing = torch.zeros(written.mask[:, 1:].shape)
    made = GRPOBatch(written.ids, written.mask, nothing, nothing, nothing)
    source = RolloutBatches(
        lambda _: (made, {}), GRPOBatch, epochs=2, minibatch_size=12, micro_batch_size=4, seed=1
    )
    for _ in range(2):
        prompts = [batch.prompts for batch in next(source)]
        assert [len(each) for each in prompts] == [4, 4, 4]
        assert sorted(set(each).pop() for each in prompts) == [(0,), (1, 1), (2, 2, 2)]
        assert all(len(set(each)) == 1 for each in prompts)


def test_rows_keep_what_belongs_to_them_and_lose_empty_columns():
    whole, _ = rollout_of(0)
    part = whole.rows([5, 1, 0])
    width = int(whole.mask[[5, 1, 0]].sum(1).max()) + 1
    assert part.ids.shape == part.mask.shape == (3, width) < whole.ids.shape
    assert part.old_logprobs.shape == (3, width - 1)
    for row, origin in enumerate([5, 1, 0]):
        kept = part.mask[row, 1:].bool()
        assert kept.sum() == whole.mask[origin].sum()
        for name, shift in (("old_logprobs", 0), ("ref_logprobs", 0.25), ("advantages", 0.5)):
            assert (getattr(part, name)[row][kept] == origin + shift).all()


@pytest.mark.parametrize("taken", [0, 1, 3, 4, 6, 9])
def test_in_the_middle_of_a_rollout_a_state_goes_on_exactly(tmp_path, taken):
    made = []
    source, again = batches(), batches(made)
    for _ in range(taken):
        next(source)
    save_state(tmp_path / "state", {"source": source.state_dict()})
    again.load_state_dict(load_state(tmp_path / "state")["source"])
    assert again.metrics() == source.metrics()
    for _ in range(7):
        for ours, theirs in zip(next(again), next(source), strict=True):
            assert all(torch.equal(getattr(ours, name), getattr(theirs, name)) for name in vars(ours))
        assert again.metrics() == source.metrics()
    assert made[:1] == [-(-taken // 6)]  # the rollout in hand is not made again
    json.dumps(again.metrics())
