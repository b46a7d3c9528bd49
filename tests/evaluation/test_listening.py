"""The evaluations of whether an assistant listens, for the held-out conversations that there are."""

import pytest
from chatty import make_chatty

from folio.data.conversations import Conversation
from folio.errors import UserError
from folio.evaluation.listening import evaluate_assistant, exchange, listening, with_skill
from folio.evaluation.prompt_pmi import PromptPMI
from folio.evaluation.skills import SkillsMet


def conversation(request, answer, **columns):
    messages = [{"role": "user", "content": request}, {"role": "assistant", "content": answer}]
    return Conversation(messages, "here", columns)


@pytest.fixture
def tokenizer():
    return make_chatty()[1]


def test_an_exchange_is_the_last_answer_to_learn_from(tokenizer):
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "d"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "b", "weight": 0},
    ]
    found = exchange(Conversation(messages, "here", {"skill": "repeat"}), tokenizer)
    assert found.skill == "repeat"
    assert tokenizer.decode(found.completion) == "d<|end|>"
    assert tokenizer.decode(found.prompt).startswith("<|bos|><|user|>a<|end|>")


def test_conversations_of_any_kind_tell_what_a_prompt_is_worth(tokenizer):
    parts = listening([conversation("a", "b"), conversation("c", "d")], tokenizer, 32)
    assert [type(part) for part in parts] == [PromptPMI]


def test_requests_with_a_checker_are_answered_and_checked(tokenizer):
    asked = [conversation(f"{word}?", word, skill="repeat", fields={"line": word}) for word in ("bad", "cab")]
    parts = listening(asked, tokenizer, 256)
    assert [type(part) for part in parts] == [PromptPMI, SkillsMet]
    assert parts[1].requests[0].is_met("bad")
    assert not parts[1].requests[0].is_met("cab")


def test_what_does_not_fit_into_the_context_is_left_out(tokenizer):
    asked = [conversation(f"{word}?", word, skill="repeat", fields={"line": word}) for word in ("bad", "cab")]
    assert listening(asked, tokenizer, 8) == []


def test_an_assistant_is_evaluated_from_rows():
    model, tokenizer = make_chatty()
    rows = [
        {"messages": [{"role": "user", "content": f"{ask}{word}"}, {"role": "assistant", "content": word}]}
        for ask, word in (("abc", "bad"), ("cab", "dab"), ("bac", "cab"))
    ]
    found = evaluate_assistant(model, tokenizer, rows)
    assert found.keys() == {"prompt_pmi", "prompt_pmi_error", "prompt_pmi_per_token", "prompt_wins"}
    with pytest.raises(UserError, match="no answer"):
        evaluate_assistant(model, tokenizer, [{"messages": [{"role": "user", "content": "a"}]}])


def test_a_request_is_recognized_by_its_words():
    messages = [
        {"role": "user", "content": "Write about love."},
        {"role": "assistant", "content": "O love!"},
        {"role": "user", "content": "In capitals, please."},
        {"role": "assistant", "content": "O LOVE!"},
    ]
    assert with_skill(Conversation(messages, "here")).columns == {
        "skill": "then capitals",
        "fields": {"line": "O love!"},
    }
    assert with_skill(Conversation(messages[:2], "here")).columns["fields"] == {"word": "love"}
    assert with_skill(conversation("Who?", "I.")).columns == {}
