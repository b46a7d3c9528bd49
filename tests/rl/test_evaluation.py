"""Evaluation of a policy: the same prompts, the same seed, and a reward that it does not learn from."""

import pytest
from random_models import TOKENIZER, random_gpt

from folio.evaluation.diversity import distinct_n
from folio.rl.evaluation import PolicyEvaluation
from folio.rl.functions import LocalFunction
from folio.rl.rewards import FunctionReward, WeightedSum
from folio.rl.rollouts import Prompt, RolloutSampler, sample_completions
from folio.tokenizer.chat_template import prompt_ids

PROMPTS = [
    Prompt(text, prompt_ids(TOKENIZER, [{"role": "user", "content": text}]))
    for text in ("a", "bad", "fed", "cafe")
]
WRITING = {"max_new_tokens": 8, "temperature": 1.0}


def count(letter):
    reward = FunctionReward(letter, LocalFunction(lambda prompt, completion: float(completion.count(letter))))
    return WeightedSum([(reward, 1.0)])


def evaluation(gold=None, seed=3):
    sampler = RolloutSampler(
        policy=random_gpt(0), reference=random_gpt(0), tokenizer=TOKENIZER, reward=count("a"),
        missing_stop_penalty=0.5, batch_size=3, **WRITING,
    )  # fmt: skip
    return PolicyEvaluation(sampler, PROMPTS, gold, seed)


def test_the_metrics_are_those_of_what_the_model_writes():
    model = random_gpt(4)
    found = evaluation(gold=count("b"))(model)
    texts = [each.completion for each in sample_completions(model, TOKENIZER, PROMPTS, seed=3, **WRITING)]
    assert found["val_reward"] == pytest.approx(sum(text.count("a") for text in texts) / 4)
    golds = [text.count("b") for text in texts]
    mean = sum(golds) / 4
    assert found["val_gold"] == pytest.approx(mean)
    assert found["val_gold_std"] == pytest.approx((sum((each - mean) ** 2 for each in golds) / 4) ** 0.5)
    assert found["val_distinct_2"] == distinct_n(texts)


def test_only_the_model_makes_a_difference():
    evaluate = evaluation()
    first = evaluate(random_gpt(4))
    assert evaluate(random_gpt(5)) != first
    assert evaluate(random_gpt(4)) == first
    assert evaluation(seed=4)(random_gpt(4)) != first


def test_the_model_that_is_given_is_measured_against_the_reference():
    evaluate = evaluation()
    assert evaluate(random_gpt(0))["val_kl"] == pytest.approx(0, abs=1e-4)
    assert evaluate(random_gpt(4))["val_kl_k3"] > 0.1


def test_without_a_gold_reward_there_is_none_of_its_metrics():
    without, with_gold = (evaluation(gold)(random_gpt()).keys() for gold in (None, count("b")))
    assert with_gold - without == {"val_gold", "val_gold_std"}
    assert all(name.startswith("val_") for name in with_gold)
