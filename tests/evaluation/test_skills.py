"""Requests that an assistant meets, by their checkers."""

from functools import partial

import pytest
from random_models import TOKENIZER, random_gpt

from folio.evaluation.skills import Request, SkillsMet


def always(result, answer):
    return result


@pytest.fixture
def model():
    return random_gpt()


def requests(*skills):
    bos = TOKENIZER.special_ids["<|bos|>"]
    return [Request(name, [bos, n % 4], partial(always, result)) for n, (name, result) in enumerate(skills)]


def test_it_is_the_share_of_requests_that_are_met_by_skill(model):
    skills = SkillsMet(requests(("a", True), ("a", False), ("b", True), ("b", True)), TOKENIZER, 1.0, 5)
    assert skills(model) == {"val_met": 0.75, "val_met/a": 0.5, "val_met/b": 1.0}


def test_checkers_are_given_the_text_of_the_answer(model):
    heard = []
    asked = [Request("a", [TOKENIZER.special_ids["<|bos|>"]], lambda answer: heard.append(answer) or True)]
    skills = SkillsMet(asked, TOKENIZER, 1.0, 5)
    assert skills(model) == {"val_met": 1.0, "val_met/a": 1.0}
    assert heard == skills.answers(model)
    assert all(set(each) <= set(TOKENIZER.characters) for each in heard)
