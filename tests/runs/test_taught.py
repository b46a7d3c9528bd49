"""What an assistant was taught, and the checker's word on its answers."""

import pytest
from tiny import instructed

from folio.runs.taught import example_requests, follows_instructions, invitation, remark


@pytest.fixture
def taught(finished, tmp_path):
    """A copy of the tiny run that says it was fine-tuned on instructions."""
    return instructed(finished, tmp_path / "taught")


def test_the_invitation_names_skills_and_examples(taught, finished):
    told = invitation(taught)
    assert "repeat, capitals" in told
    assert "For example:\n  Repeat: the cat" in told
    assert follows_instructions(taught)
    assert not follows_instructions(finished)


@pytest.mark.parametrize(
    ("request_", "answer", "told"),
    [
        ("Repeat: the cat", "the cat", "repeat: done as asked."),
        ("Write about love.", "Hate!", "about: not what was asked for."),
        ("Who art thou?", "I.", "its answer is a guess"),
    ],
)
def test_the_remark_is_the_checkers(request_, answer, told):
    assert told in remark(request_, answer)


def test_a_request_may_be_about_the_answer_before_it():
    assert remark("In capitals.", "O LOVE!", before="O love!") == "then capitals: done as asked."
    assert "a guess" in remark("In capitals.", "O LOVE!")


def test_examples_are_requests_of_known_kinds_that_the_run_has_answered(taught, finished):
    assert example_requests(taught) == ["Repeat: the cat"]
    assert example_requests(finished) == []
