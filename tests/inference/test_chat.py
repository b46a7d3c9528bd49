"""A conversation without a terminal."""

from types import SimpleNamespace

import pytest
import torch
from random_models import TOKENIZER, random_gpt

from folio.errors import UserError
from folio.inference.chat import ChatSession
from folio.inference.sampling import SamplingConfig
from folio.tokenizer.char import CharTokenizer


def talkative(tokenizer):
    """A model that writes every character equally often, and never ends its answer."""
    model = random_gpt(vocab_size=tokenizer.vocab_size, norm="layer_norm", bias="all", tied_embeddings=False)
    with torch.no_grad():
        model.norm.weight.zero_()
        model.norm.bias.fill_(1.0)
        model.head.weight.zero_()
        model.head.weight[len(tokenizer.characters) :] = -10.0
    return model.eval()


MODEL = talkative(TOKENIZER)


@pytest.fixture
def notices():
    return []


@pytest.fixture
def session(notices):
    return ChatSession(MODEL, TOKENIZER, notify=notices.append, max_new_tokens=6)


def ask(session, question):
    session.add_user_message(question)
    return "".join(session.answer())


def test_turns_alternate_below_the_system_message(session, notices):
    session.set_system("fed")
    first = ask(session, "abc")
    assert session.transcript() == [
        {"role": "system", "content": "fed"},
        {"role": "user", "content": "abc"},
        {"role": "assistant", "content": first},
    ]
    session.reset()
    assert session.transcript() == [{"role": "system", "content": "fed"}]
    assert notices == []


def test_a_seed_gives_its_answers_and_a_retry_another(session):
    first = ask(session, "abc")
    again = "".join(session.retry())
    assert again != first
    assert [each["content"] for each in session.messages] == ["abc", again]
    session.reset()
    session.seed = 1
    assert ask(session, "abc") == first


def test_without_a_temperature_a_retry_is_the_same_answer(session):
    session.sampling = SamplingConfig(temperature=0)
    assert ask(session, "abc") == "".join(session.retry())


def test_unknown_characters_are_left_out_with_a_notice(session, notices):
    session.set_system("aß")
    session.add_user_message("bßé")
    assert [each["content"] for each in session.transcript()] == ["a", "b"]
    assert notices == [
        "the model has never seen 'ß'; left out.",
        "the model has never seen 'ß', 'é'; left out.",
    ]
    with pytest.raises(UserError, match="nothing is left"):
        session.add_user_message("ß")


def test_a_full_context_drops_the_oldest_messages(session, notices):
    for question in ("abc", "def", "fed", "cab"):
        ask(session, question)
    assert len(session.transcript()) == 8
    assert 0 < session.n_dropped < 8
    assert session.n_dropped % 2 == 0
    assert notices[-1] == f"the context is full: the oldest {session.n_dropped} messages are no longer seen."


def test_a_message_longer_than_the_context_is_an_error_and_removed(session):
    session.add_user_message("abc " * 8)
    with pytest.raises(UserError, match="too long: the model reads 32 tokens"):
        next(session.answer())
    assert session.messages == []
    with pytest.raises(UserError, match="no question"):
        next(session.answer())


def test_an_answer_that_is_not_read_to_its_end_is_kept_as_far_as_it_came(session):
    session.add_user_message("abc")
    pieces = session.answer()
    first = next(piece for piece in pieces if piece)
    pieces.close()
    assert session.messages[-1] == {"role": "assistant", "content": first}


def test_undo_removes_the_last_answer_alone(session):
    with pytest.raises(UserError, match="no answer yet"):
        session.undo()
    ask(session, "abc")
    session.undo()
    assert [each["role"] for each in session.messages] == ["user"]
    with pytest.raises(UserError, match="no answer yet"):
        session.undo()


def test_another_session_takes_over_what_it_knows_of_the_conversation(session, notices):
    tokenizer = CharTokenizer(tuple("abc"))
    other = ChatSession(talkative(tokenizer), tokenizer, notify=notices.append)
    session.set_system("fa")
    ask(session, "abd")
    other.sync_with(session)
    assert other.transcript() == [{"role": "system", "content": "a"}, {"role": "user", "content": "ab"}]
    assert other.seed == session.seed == 2


def test_a_tokenizer_without_chat_tokens_is_refused(notices):
    with pytest.raises(UserError, match=r"no chat tokens: folio\.add_chat_tokens"):
        ChatSession(MODEL, SimpleNamespace(special_ids={"<|bos|>": 0}), notify=notices.append)


def test_a_transcript_is_continued_without_its_unanswered_question(session):
    turns = [
        {"role": "system", "content": "cab"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "bed"},
    ]
    session.restore([*turns, {"role": "user", "content": "face"}])
    assert session.transcript() == turns
    session.restore(turns[1:])
    assert session.transcript() == turns[1:], "without a system message there is none"
    with pytest.raises(UserError, match="turn 1 is the assistant's"):
        session.restore(turns[2:])
    assert session.transcript() == turns[1:]
