"""Two answers to one question, and the preference between them."""

import pytest
from random_models import TOKENIZER, silent_gpt, talkative_gpt

from folio.data.preferences import preference_of
from folio.inference.chat import ChatSession
from folio.inference.comparison import preference, write_two

QUESTION = {"role": "user", "content": "a cab"}


def session(model):
    made = ChatSession(model, TOKENIZER, notify=pytest.fail, max_new_tokens=6)
    made.add_user_message(QUESTION["content"])
    return made


def test_a_model_compared_with_itself_has_two_answers():
    model = talkative_gpt()
    first, other = session(model), session(model)
    answers = write_two(first, other)
    assert len(set(answers)) == 2
    assert first.messages == [QUESTION, {"role": "assistant", "content": answers[0]}]


def test_where_the_second_is_silent_there_is_no_answer_and_no_question():
    first = session(talkative_gpt())
    silent = ChatSession(silent_gpt(), TOKENIZER, notify=lambda _: None, max_new_tokens=6)
    assert write_two(first, silent) == []
    assert first.messages == []


@pytest.mark.parametrize("prompt", [[QUESTION], [QUESTION, {"role": "assistant", "content": "b"}, QUESTION]])
def test_a_preference_is_read_by_folio_reward(prompt):
    read = preference_of(preference(prompt, "good", "bad"), "row 1")
    assert (list(read.prompt), read.chosen, read.rejected) == (prompt, "good", "bad")
