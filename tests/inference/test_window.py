"""Which turns a model sees."""

import pytest
from chatty import make_chatty

from folio.errors import UserError
from folio.inference.window import visible_window
from folio.tokenizer.chat_template import prompt_ids


def turn(role, content):
    return {"role": role, "content": content}


SYSTEM = [turn("system", "a")]
TURNS = [turn("user", "bbbb"), turn("assistant", "cccc"), turn("user", "dd")]


@pytest.fixture(scope="module")
def tokenizer():
    return make_chatty()[1]


def test_all_that_fits_is_seen(tokenizer):
    whole = prompt_ids(tokenizer, SYSTEM + TURNS)
    window = visible_window(tokenizer, SYSTEM, TURNS, block_size=len(whole) + 4, answer=4)
    assert (window.ids, window.n_dropped) == (whole, 0)


def test_the_oldest_turns_go_first_and_the_system_message_stays(tokenizer):
    whole = prompt_ids(tokenizer, SYSTEM + TURNS)
    window = visible_window(tokenizer, SYSTEM, TURNS, block_size=len(whole) + 3, answer=4)
    assert (window.ids, window.n_dropped) == (prompt_ids(tokenizer, SYSTEM + TURNS[2:]), 2)


def test_a_long_answer_may_keep_half_the_context_free_and_no_more(tokenizer):
    whole = prompt_ids(tokenizer, SYSTEM + TURNS)
    window = visible_window(tokenizer, SYSTEM, TURNS, block_size=2 * len(whole), answer=10**6)
    assert window.n_dropped == 0


def test_a_message_that_fills_the_context_is_an_error(tokenizer):
    needed = len(prompt_ids(tokenizer, SYSTEM + TURNS[2:]))
    assert visible_window(tokenizer, SYSTEM, TURNS, block_size=needed + 1, answer=1).n_dropped == 2
    with pytest.raises(UserError, match=f"reads {needed} tokens"):
        visible_window(tokenizer, SYSTEM, TURNS, block_size=needed, answer=1)
