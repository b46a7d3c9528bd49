"""PPO as a function: rewards of every kind, and the critic."""

import pytest
import torch
from chatty import make_chatty

from folio.errors import UserError
from folio.model.score import ScoreModel
from folio.rl.policy import RolloutConfig
from folio.rl.ppo import PPOConfig, build_critic, ppo
from folio.rl.rewards import WeightedSum

TINY = {"rollouts": 2, "rollout_size": 8, "minibatch_size": 8, "max_new_tokens": 6}


def run(reward, **settings):
    model, tokenizer = make_chatty()
    return list(ppo(model, tokenizer, prompts=["a?", "b?"], reward=reward, **{**TINY, **settings}))


def test_a_function_and_a_reward_model_give_rewards():
    model, _ = make_chatty()
    for reward in (lambda prompt, completion: len(completion), ScoreModel.like(model)):
        reports = run(reward)
        assert [report.metrics["rollout"] for report in reports] == [1, 2]
        assert {"reward", "kl", "value_loss", "explained_variance"} <= reports[0].metrics.keys()
        assert reports[0].metrics["ratio"] == pytest.approx(1, abs=1e-4)


def test_a_reward_that_fails_names_itself_and_the_prompt():
    def broken(prompt: str, completion: str) -> float:
        raise ValueError("no idea")

    with pytest.raises(UserError, match=r"broken raised ValueError \(no idea\), for the prompt '[ab]\?'"):
        run(broken)


def test_the_callers_random_state_is_left_alone_and_does_not_matter():
    losses = []
    for seed in (1, 2):
        model, tokenizer = make_chatty()
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        reports = ppo(
            model, tokenizer, prompts=["a?"], reward=lambda prompt, completion: len(completion), **TINY
        )
        losses.append([report.loss for report in reports])
        assert torch.equal(before, torch.get_rng_state())
    assert losses[0] == losses[1]


def test_a_config_of_another_stage_is_refused():
    with pytest.raises(UserError, match="ppo: config is a RolloutConfig: it must be a PPOConfig"):
        run(len, config=RolloutConfig())


def test_a_sum_of_rewards_passes_through():
    reports = run(WeightedSum([]))
    assert reports[0].metrics["reward"] == 0


def test_the_critic_starts_at_0_with_the_policys_body():
    model, _ = make_chatty()
    critic = build_critic(WeightedSum([]), model)
    ids = torch.randint(0, 10, (2, 5))
    assert (critic(ids) == 0).all()
    torch.testing.assert_close(critic.hidden_states(ids), model.hidden_states(ids))


def test_the_critics_optimizer_differs_from_the_policys_in_its_rates():
    config = PPOConfig(critic_learning_rate=0.5, critic_head_learning_rate=0.25)
    assert config.critic_optimizer.learning_rate == config.critic_optimizer.embedding_learning_rate == 0.5
    assert config.critic_optimizer.head_learning_rate == 0.25
    assert config.critic_optimizer.beta1 == config.optimizer.beta1
