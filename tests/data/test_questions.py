"""Questions of rows, in the forms that public sets have."""

import pytest

from folio.data.fields import Fields
from folio.data.questions import Option, Question, question_of, questions_of, spaced
from folio.errors import UserError

CHOICES = {"query": "The cat sat on the", "choices": ["mat", "moon"], "gold": 1}
SCHEMA = {
    "context_options": ["The cat ran because the cat", "The cat ran because the dog"],
    "continuation": "barked",
    "gold": 1,
}
PAIR = {"sentence_good": "Cats sleep.", "sentence_bad": "Cats sleeps.", "UID": "agreement", "pairID": "0"}
OPEN = {"context": "The cat sat on the", "continuation": "mat"}


@pytest.mark.parametrize(
    ("row", "question"),
    [
        (
            CHOICES,
            Question([Option("The cat sat on the", " mat"), Option("The cat sat on the", " moon")], gold=1),
        ),
        (
            SCHEMA,
            Question([Option(each, " barked") for each in SCHEMA["context_options"]], gold=1),
        ),
        (PAIR, Question([Option("", "Cats sleep."), Option("", "Cats sleeps.")])),
        (OPEN, Question([Option("The cat sat on the", " mat")])),
    ],
)
def test_a_row_is_a_question_and_all_of_it_is_used(row, question):
    fields = Fields(row)
    assert question_of(fields) == question
    assert fields.unread() == set()


@pytest.mark.parametrize(
    ("context", "continuation", "joined"),
    [("a", "b", " b"), ("a ", "b", "b"), ("a\n", "b", "b"), ("a", " b", " b"), ("", "b", "b")],
)
def test_one_white_space_is_between_a_context_and_what_follows(context, continuation, joined):
    assert spaced(context, continuation) == joined


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"text": "words"}, "it must have `choices`, `gold`, `query`|it has: text"),
        ({**CHOICES, "gold": 2}, "`gold` must be the place of the right one in `choices`, from 0 to 1"),
        ({**CHOICES, "gold": "1"}, "`gold` must be the place"),
        ({**CHOICES, "gold": True}, "`gold` must be the place"),
        ({**CHOICES, "choices": ["mat"]}, "`choices` must be a list of two or more texts"),
        ({**CHOICES, "choices": "mat"}, "`choices` must be a list of two or more texts"),
        ({**CHOICES, "choices": ["mat", ""]}, "`choices` must be a list of two or more texts"),
        ({**OPEN, "continuation": ""}, "`continuation` must be a text"),
        ({**OPEN, "context": 3}, "`context` must be a text"),
        ({**PAIR, "sentence_bad": None}, "sentence_bad"),
    ],
)
def test_what_is_no_question_is_told(row, told):
    with pytest.raises(UserError, match=told):
        question_of(Fields(row))


def test_the_number_of_a_bad_row_is_told():
    with pytest.raises(UserError, match="question 2: `gold`"):
        questions_of([CHOICES, {**CHOICES, "gold": 5}])
