"""Reward sources: models, functions, and sums."""

import math

import pytest
import torch
from random_models import END, PAD, TOKENIZER, random_gpt, random_scorer

from folio.errors import UserError
from folio.rl.functions import LocalFunction
from folio.rl.rewards import FunctionReward, LikelihoodReward, ModelReward, RewardError, Sample, WeightedSum


def sample(
    prompt="a question", completion="an answer", prompt_ids=(1, 2), completion_ids=(3, END), columns=None
):
    logprobs = (0.0,) * len(completion_ids)
    return Sample(prompt, completion, prompt_ids, completion_ids, logprobs, True, columns or {})


def test_a_likelihood_is_that_of_a_text_of_its_own_in_nats_a_character():
    model = random_gpt()
    reward = LikelihoodReward(model, TOKENIZER, batch_size=2)
    texts = ["a cab", "", "fed", "a cab", "b" * 100]
    rewards = reward([sample(completion=text) for text in texts])
    before = TOKENIZER.prompt("")

    def alone(text):
        ids = torch.tensor([[*before, *TOKENIZER.encode(text).tolist()][: model.config.block_size]])
        logprobs = model(ids).log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[len(before) - 1 :]
        return logprobs.mean().item()  # each token of this tokenizer is a character

    expected = [alone(text) if text else -math.log(TOKENIZER.vocab_size) for text in texts]
    assert rewards == pytest.approx(expected, abs=1e-5)
    assert reward([]) == []
    # What was asked plays no part.
    other = sample(prompt="another", completion="fed", prompt_ids=(4, 5, 6))
    assert reward([other]) == [pytest.approx(rewards[2], abs=1e-5)]


def test_a_function_gets_the_columns_that_it_asks_for():
    reward = FunctionReward(
        "f", LocalFunction(lambda prompt, completion, answer: float(completion == answer))
    )
    samples = [sample(completion=text, columns={"answer": "4", "level": 2}) for text in ("4", "5")]
    assert reward(samples) == [1.0, 0.0]
    assert reward([]) == []


def failing(prompt, completion):
    raise ValueError("no verb")


def test_a_failure_is_told_with_prompt_and_completion():
    with pytest.raises(RewardError) as caught:
        FunctionReward("mine.py:f", LocalFunction(failing))([sample()])
    assert (
        str(caught.value)
        == "mine.py:f raised ValueError (no verb), for the prompt 'a question' and the completion 'an answer'."
    )


def test_the_sample_that_fails_is_named():
    with pytest.raises(RewardError, match="the completion '0'"):
        FunctionReward("f", LocalFunction(lambda _, text: 1 / int(text)))(
            [sample(completion=text) for text in ("2", "0", "x")]
        )


def test_long_texts_are_shortened_in_a_message():
    with pytest.raises(RewardError) as caught:
        FunctionReward("f", LocalFunction(failing))([sample(prompt="why\n" * 1000, completion="x" * 1000)])
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


def test_a_function_from_python_may_print(capsys):
    assert FunctionReward("f", LocalFunction(lambda *_: print("here") or 1.0))([sample()]) == [1.0]
    assert "here" in capsys.readouterr().out


def test_a_column_that_is_not_there_is_told_before_it_is_needed():
    def strict(prompt, completion, answer, level=1):
        return 1.0

    reward = WeightedSum([(FunctionReward("mine.py:f", LocalFunction(strict)), 1.0)])
    reward.check_columns([{"answer": "4"}, {"answer": None, "unit": "m"}])
    with pytest.raises(UserError) as caught:
        reward.check_columns([{"answer": "4", "unit": "m"}, {"question": "2+2"}])
    assert (
        str(caught.value)
        == "mine.py:f asks for 'answer', a column that 1 of 2 prompts do not have. Columns: answer, unit, question."
    )
    with pytest.raises(UserError, match="Columns: none"):
        reward.check_columns([{}])


def test_several_sources_are_added_by_weight():
    def length(samples):
        return [float(len(each.completion)) for each in samples]

    def one(samples):
        return [1.0 for _ in samples]

    samples = [sample(completion="ab"), sample(completion="abcd")]
    assert WeightedSum([(length, 0.5), (one, -3.0)])(samples) == [-2.0, -1.0]
    assert WeightedSum([])(samples) == [0.0, 0.0]


def test_a_models_score_does_not_depend_on_what_is_scored_beside():
    model = random_scorer().eval()
    samples = [sample(completion_ids=[3] * n + [END], prompt_ids=[n, 1]) for n in (1, 9, 0, 4, 2)]
    together = ModelReward(model, PAD)(samples)
    alone = [ModelReward(model, PAD)([each])[0] for each in samples]
    in_twos = ModelReward(model, PAD, batch_size=2)(samples)
    assert together == pytest.approx(alone, abs=1e-5)
    assert together == pytest.approx(in_twos, abs=1e-5)
    assert together[1] != pytest.approx(together[0], abs=1e-3)


def test_a_model_reads_the_tokens_that_were_drawn_up_to_the_last():
    model = random_scorer().eval()
    drawn = sample(prompt_ids=[1, 2], completion_ids=[3, 4, END])
    with torch.inference_mode():
        expected = model(torch.tensor([[1, 2, 3, 4, END]]))[0, -1].item()
    assert ModelReward(model, PAD)([drawn]) == [pytest.approx(expected, abs=1e-5)]
