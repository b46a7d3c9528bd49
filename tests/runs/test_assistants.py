"""Which models answer, and which continue texts."""

import pytest
from byte_level import gpt2_like
from tiny import answering

from folio.errors import FolioWarning, UserError
from folio.runs.assistants import is_assistant, takes_question
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.char import CharTokenizer


def test_a_run_tells_what_its_models_are(finished, tmp_path):
    run = answering(finished, tmp_path / "run")
    for place in (".", "best", "checkpoints/step-20"):
        assert is_assistant(run / place)
        assert not is_assistant(finished / place)
    assert not is_assistant(tmp_path)
    assert not is_assistant(tmp_path / "nosuch")


@pytest.mark.parametrize("place", [".", "best", "checkpoints/step-20"])
@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_a_run_that_does_not_tell_is_told(finished, tmp_path, place, content):
    run = answering(finished, tmp_path / "run")
    (run / "run.json").unlink()
    if content:
        (run / "run.json").write_text(content)
    with pytest.warns(FolioWarning, match="it is not known whether this model answers"):
        assert not is_assistant(run / place)


def test_a_person_may_know_better(finished, tmp_path):
    run, tokenizer = answering(finished, tmp_path / "run"), CharTokenizer.train("abc")
    assert takes_question(run, tokenizer, "auto")
    assert not takes_question(run, tokenizer, "off")
    assert takes_question(tmp_path, tokenizer, "on")
    assert not takes_question(tmp_path, tokenizer, "auto")


def test_a_question_needs_the_chat_tokens(tmp_path):
    foreign = BPETokenizer(gpt2_like().to_str())
    with pytest.raises(UserError, match="has no chat tokens"):
        takes_question(tmp_path, foreign, "on")
    assert not takes_question(tmp_path, foreign, "auto")
