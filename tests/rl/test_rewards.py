"""Reward sources: models, functions of anybody's with all that may go wrong in them, and sums."""

import pytest
import torch
from random_models import END, PAD, random_scorer

from folio.rl.rewards import FunctionReward, ModelReward, RewardError, Sample, WeightedSum


def sample(prompt="a question", completion="an answer", prompt_ids=(1, 2), completion_ids=(3, END)):
    return Sample(prompt, completion, prompt_ids, completion_ids, (0.0,) * len(completion_ids), True)


def test_a_function_gets_prompt_and_completion():
    seen = []

    def function(prompt, completion):
        seen.append((prompt, completion))
        return len(completion)

    reward = FunctionReward("f", function)
    assert reward([sample(), sample("b", "c")]) == [9.0, 1.0]
    assert seen == [("a question", "an answer"), ("b", "c")]
    assert reward([]) == []


@pytest.mark.parametrize("given", [True, 3, -0.5, 0])
def test_what_is_a_number_is_taken(given):
    (found,) = FunctionReward("f", lambda *_: given)([sample()])
    assert found == given
    assert type(found) is float


def test_numbers_of_numpy_are_numbers():
    import numpy as np

    assert FunctionReward("f", lambda *_: np.float32(0.5))([sample()]) == [0.5]


def raising(error):
    def function(prompt, completion):
        raise error

    return function


def prints(prompt, completion):
    print("the reward function was here")
    return 1.0


FAILURES = {
    "raises": (raising(ValueError("no verb")), "raised ValueError (no verb) for the prompt 'a question'"),
    "raises at length": (raising(ValueError("one\n\n  two")), "raised ValueError (one two)"),
    "leaves Python": (raising(SystemExit(1)), "raised SystemExit (1)"),
    "NaN": (lambda *_: float("nan"), "returned nan for the prompt 'a question': a reward must be finite"),
    "infinity": (lambda *_: float("-inf"), "returned -inf"),
    "too large for float32": (lambda *_: 1e300, "returned 1e+300"),
    "a huge integer": (lambda *_: 10**320, "a reward must be finite"),
    "a tensor": (lambda *_: torch.tensor(1.0), "returned Tensor, not a number, for the prompt 'a question'. Return its .item()."),
    "a text": (lambda *_: "good", "returned str, not a number"),
    "nothing": (lambda *_: None, "returned NoneType, not a number"),
    "a complex number": (lambda *_: 1j, "returned complex, not a number"),
    "another signature": (lambda completion: 1.0, "raised TypeError"),
}  # fmt: skip


@pytest.mark.parametrize(("function", "told"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_told_in_one_line(function, told):
    with pytest.raises(RewardError) as caught:
        FunctionReward("mine.py:f", function)([sample()])
    assert str(caught.value).startswith("mine.py:f ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_function_may_say_itself_why_it_failed():
    with pytest.raises(RewardError) as caught:
        FunctionReward("f", raising(RewardError("has no key")))([sample()])
    assert str(caught.value) == "f has no key for the prompt 'a question'."


def test_a_long_prompt_is_shortened_in_a_message():
    with pytest.raises(RewardError) as caught:
        FunctionReward("f", raising(ValueError("x")))([sample(prompt="why\n" * 1000)])
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


def test_ctrl_c_is_no_failure():
    with pytest.raises(KeyboardInterrupt):
        FunctionReward("f", raising(KeyboardInterrupt()))([sample()])


def test_a_function_may_print(capsys):
    assert FunctionReward("f", prints)([sample()]) == [1.0]
    assert "was here" in capsys.readouterr().out


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
