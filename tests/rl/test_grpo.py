"""GRPO as a function: what it accepts, yields and changes."""

import pytest
import torch
from chatty import make_chatty

from folio.errors import FolioWarning, UserError
from folio.rl.grpo import GRPOConfig, grpo
from folio.rl.policy import RolloutConfig

TINY = {"rollouts": 2, "rollout_size": 8, "group_size": 4, "minibatch_size": 4, "max_new_tokens": 6}


def count_a(prompt: str, completion: str) -> float:
    return float(completion.count("a"))


def run(model, tokenizer, **settings):
    prompts = ["a?", "b?", "c?"]
    return list(grpo(model, tokenizer, **{"prompts": prompts, "reward": count_a, **TINY, **settings}))


def test_a_report_for_each_step_with_the_metrics_of_its_rollout():
    reports = run(*make_chatty())
    assert [report.step for report in reports] == [1, 2, 3, 4]
    assert [report.metrics["rollout"] for report in reports] == [1, 1, 2, 2]
    assert {"reward", "kl", "stop_share", "equal_groups", "clip_fraction"} <= reports[0].metrics.keys()
    assert reports[0].metrics["ratio"] == pytest.approx(1, abs=1e-4)


def test_the_policy_learns_and_its_reference_does_not():
    model, tokenizer = make_chatty()
    reference, _ = make_chatty()
    before = {name: value.clone() for name, value in reference.state_dict().items()}
    start = [report.metrics["reward"] for report in run(model, tokenizer, rollouts=1)]
    rates = dict.fromkeys(("learning_rate", "embedding_learning_rate", "head_learning_rate"), 0.02)
    reports = run(model, tokenizer, reference=reference, rollouts=25, missing_stop_penalty=0.0, **rates)
    assert reports[-1].metrics["reward"] > start[0] + 2
    assert reports[-1].metrics["kl"] > 0.1
    assert all(torch.equal(value, before[name]) for name, value in reference.state_dict().items())


def test_the_same_seed_gives_the_same_run():
    first, second = (run(*make_chatty(), seed=3) for _ in range(2))
    assert [report.loss for report in first] == [report.loss for report in second]


def test_a_config_is_as_good_as_keywords_which_override_it():
    rollout = RolloutConfig(rollouts=2, rollout_size=8, group_size=4, minibatch_size=4, max_new_tokens=6)
    config = GRPOConfig(clip_range=0.1, rollout=rollout)
    settings = {"prompts": ["a?", "b?", "c?"], "reward": count_a}
    ours = [report.loss for report in grpo(*make_chatty(), config=config, rollouts=1, **settings)]
    assert ours == [report.loss for report in run(*make_chatty(), clip_range=0.1, rollouts=1)]


def test_the_callers_random_state_is_left_alone():
    model, tokenizer = make_chatty()
    before = torch.get_rng_state()
    run(model, tokenizer)
    assert torch.equal(before, torch.get_rng_state())


def test_nothing_happens_before_the_first_report_is_asked_for():
    model, tokenizer = make_chatty()
    grpo(model, tokenizer, prompts=["a?"], reward=lambda prompt, completion: 1 / 0, **TINY)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rolouts": 2}, "grpo: unknown key rolouts. Did you mean rollouts?"),
        ({"group_size": 1}, "group_size is 1: it must be at least 2"),
        ({"group_size": 3}, "rollout_size .8. must be a multiple of group_size .3."),
        ({"temperature": 0.0}, "temperature is 0.0: it must be at least 0.001"),
        ({"max_new_tokens": 32}, "none of 3 prompts leaves room"),
        ({"prompts": ["xyz"]}, "the prompt 'xyz'.*does not know 'x'"),
    ],
)
def test_mistakes_are_told_at_once(settings, message):
    with pytest.raises(UserError, match=message):
        run(*make_chatty(), **settings)


def test_a_model_with_dropout_is_refused():
    with pytest.raises(UserError, match="dropout"):
        run(*make_chatty(dropout=0.1))


def test_prompts_without_room_are_left_out_with_a_warning():
    with pytest.warns(FolioWarning, match="1 of 2 prompts are longer than"):
        run(*make_chatty(), prompts=["a?", "abc" * 9])


def test_settings_have_their_parts():
    assert GRPOConfig(rollout=RolloutConfig(group_size=8)) == GRPOConfig()
