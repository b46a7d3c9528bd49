"""Samples along the way: the same for the same model, whatever is asked."""

import torch
from random_models import TOKENIZER, random_gpt, silent_gpt

from folio.runs.samples import Answers, Continuation, continue_text

KNOWN = set(TOKENIZER.characters)


def test_a_continuation_begins_with_its_prompt():
    ((prompt, text),) = Continuation("bad cafe", 12).samples(random_gpt(), TOKENIZER)
    assert prompt == "bad cafe"
    assert text.startswith(prompt)
    assert len(prompt) < len(text) <= len(prompt) + 12
    assert set(text) <= KNOWN


def test_only_the_model_makes_a_difference():
    model = random_gpt(0)
    first = continue_text(model, TOKENIZER, "bad", 12)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    assert continue_text(model, TOKENIZER, "bad", 12) == first
    assert torch.equal(torch.random.get_rng_state(), before), "a sample does not change what is trained next"
    assert continue_text(random_gpt(1), TOKENIZER, "bad", 12) != first


def test_unknown_characters_of_a_prompt_are_left_out():
    assert continue_text(random_gpt(), TOKENIZER, "b☃ad", 6) == continue_text(
        random_gpt(), TOKENIZER, "bad", 6
    )
    ((prompt, text),) = Answers(["☃a"], 5).samples(random_gpt(), TOKENIZER)
    assert prompt == "☃a"
    assert text.startswith("> a\n")


def test_answers_stand_below_their_questions_and_have_their_length():
    found = Answers(["a", "bad cafe"], 4).samples(random_gpt(), TOKENIZER)
    assert [prompt for prompt, _ in found] == ["a", "bad cafe"]
    for prompt, text in found:
        question, answer = text.split("\n", 1)
        assert question == f"> {prompt}"
        assert len(answer) <= 4
    alone = Answers(["bad cafe"], 4).samples(random_gpt(), TOKENIZER)
    assert alone == found[1:]


def test_an_answer_ends_where_the_model_ends_it():
    assert Answers(["bad"], 10).samples(silent_gpt(), TOKENIZER) == [("bad", "> bad\n")]


def test_an_answer_has_the_room_that_its_question_leaves():
    question = "f" * 24  # in a context of 32
    ((_, text),) = Answers([question], 100).samples(random_gpt(), TOKENIZER)
    assert len(text) < 32 + len("> \n")
