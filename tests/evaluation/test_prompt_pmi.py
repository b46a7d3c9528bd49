"""What a prompt is worth for the answer to it."""

import math

import pytest
import torch
from torch import nn

from folio.evaluation.prompt_pmi import Exchange, PromptPMI

PAD, VOCABULARY = 0, 12


class Echo(nn.Module):
    """A model that expects the first token of its row again, with probability p, and all others alike."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, ids):
        rest = (1 - self.p) / (VOCABULARY - 1)
        probabilities = torch.full((*ids.shape, VOCABULARY), rest)
        probabilities.scatter_(2, ids[:, :1, None].expand(-1, ids.shape[1], 1), self.p)
        return probabilities.log()


def exchange(first, skill="repeat"):
    return Exchange(skill, [first, 11], [first, first])


def test_it_is_the_difference_of_log_probabilities():
    found = PromptPMI.of([exchange(n) for n in (1, 2, 3)], PAD, 8)(Echo(0.5))
    # Each of the two tokens of an answer has the probability 1/2 after its own prompt, and 1/22 after another.
    assert found["val_prompt_pmi"] == pytest.approx(2 * math.log(11))
    assert found["val_prompt_pmi_per_token"] == pytest.approx(math.log(11))
    assert found["val_prompt_pmi_error"] == pytest.approx(0, abs=1e-6)
    assert found["val_prompt_wins"] == found["val_prompt_wins/repeat"] == 1


def test_a_model_that_does_not_listen_gains_nothing():
    found = PromptPMI.of([exchange(n) for n in (1, 2, 3)], PAD, 8)(Echo(1 / VOCABULARY))
    assert found["val_prompt_pmi"] == pytest.approx(0, abs=1e-5)
    assert found["val_prompt_wins"] == pytest.approx(0.5, abs=0.5)


def test_prompts_are_exchanged_within_a_skill():
    exchanges = [exchange(1, "a"), exchange(2, "a"), exchange(3, "b"), exchange(4, "b"), exchange(5, "alone")]
    pmi = PromptPMI.of(exchanges, PAD, 8)
    assert list(pmi.skills) == ["a", "a", "b", "b"]
    assert pmi.wrong.ids[:, 0].tolist() == [2, 1, 4, 3]
    assert torch.equal(pmi.right.ids[:, 2:], pmi.wrong.ids[:, 2:])


def test_the_other_prompt_leaves_room_for_the_answer():
    long = Exchange("repeat", [2] * 7, [2, 2])
    pmi = PromptPMI.of([exchange(1), long, exchange(3)], PAD, 8)
    assert 2 not in pmi.wrong.ids[[0, 2], 0].tolist()


def test_answers_that_are_all_alike_tell_nothing():
    same = [Exchange("yes", [n], [5]) for n in (1, 2, 3)]
    assert PromptPMI.of(same, PAD, 8) is None
    assert PromptPMI.of([], PAD, 8) is None
