"""What PPO and GRPO share: how rollouts are counted, ordered, sampled and scored."""

import pytest
import torch
from chatty import make_chatty
from random_models import TOKENIZER, random_scorer

from folio.errors import FolioWarning, UserError
from folio.rl.policy import RolloutConfig, as_reward, build_sampler, order_prompts
from folio.rl.rewards import Sample, WeightedSum

SMALL = RolloutConfig(rollout_size=8, group_size=4, max_new_tokens=6)


def count_a(prompt, completion):
    return float(completion.count("a"))


def sample(text):
    ids = TOKENIZER.encode(text).tolist()
    return Sample("b", text, [1], ids, logprobs=[0.0] * len(ids), is_stopped=False)


def test_steps_and_prompts_are_counted():
    config = RolloutConfig(
        rollouts=3, rollout_size=20, group_size=5, minibatch_size=8, micro_batch_size=3, epochs=2
    )
    assert config.n_prompts == 4
    assert config.accumulation == 3  # 3 + 3 + 2
    assert config.steps == 3 * 2 * 3  # 8 + 8 + 4 answers in a pass


def test_a_rollout_is_made_of_whole_groups():
    with pytest.raises(UserError, match=r"rollout_size \(8\) must be a multiple of group_size \(3\)"):
        RolloutConfig(rollout_size=8, group_size=3)


def test_the_reference_stays_when_the_policy_learns():
    model, tokenizer = make_chatty()
    sampler = build_sampler(model, None, tokenizer, count_a, SMALL)
    assert sampler.policy is model
    before = {name: value.clone() for name, value in sampler.reference.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert not any(parameter.requires_grad for parameter in sampler.reference.parameters())
    assert all(torch.equal(value, before[name]) for name, value in sampler.reference.state_dict().items())


def test_a_reference_that_is_given_is_the_one_that_is_used():
    model, tokenizer = make_chatty()
    reference, _ = make_chatty(seed=1)
    assert build_sampler(model, reference.train(), tokenizer, count_a, SMALL).reference is reference
    assert not reference.training


def test_a_policy_has_no_dropout():
    model, tokenizer = make_chatty(dropout=0.1)
    with pytest.raises(UserError, match=r"the model has dropout 0\.1: load it with dropout=0\.0"):
        build_sampler(model, None, tokenizer, count_a, SMALL)


def test_a_function_a_model_and_a_sum_are_rewards():
    samples = [sample("a cab"), sample("fed")]
    function = as_reward(count_a, TOKENIZER)
    assert function(samples) == [2.0, 0.0]
    model = as_reward(random_scorer(dropout=0.5).train(), TOKENIZER)
    assert model(samples) == model(samples), "its dropout is off"
    both = WeightedSum([(function, 2.0), (model, 1.0)])
    assert as_reward(both, TOKENIZER) is both


def test_prompts_come_in_an_order_of_the_seed_once_each():
    model, tokenizer = make_chatty()
    prompts = [letter + "?" for letter in "abcdefgh"]
    order = order_prompts(prompts, model, tokenizer, SMALL)
    taken = [prompt.text for number in range(4) for prompt in order.take(number, 2)]
    assert sorted(taken) == prompts
    again = order_prompts(prompts, model, tokenizer, SMALL)
    assert [prompt.text for prompt in again.take(0, 8)] == taken


def test_prompts_without_room_for_an_answer_are_left_out():
    model, tokenizer = make_chatty()
    with pytest.warns(FolioWarning, match="1 of 2 prompts are longer than 26 tokens and left out"):
        order = order_prompts(["a?", "abc" * 9], model, tokenizer, SMALL)
    assert [prompt.text for prompt in order.prompts] == ["a?"]
    with pytest.raises(UserError, match="none of 1 prompts leaves room"):
        order_prompts(["abc" * 9], model, tokenizer, SMALL)
