"""The page's routes that look into a model, as the page asks them."""

import json

import pytest
import torch
from random_models import TOKENIZER, random_gpt
from starlette.testclient import TestClient
from tiny import instructed

from folio.inference.inspection import logprobs
from folio.runs.load import load, save
from folio.server.app import create_app
from folio.server.catalog import Catalog
from folio.server.config import ServerConfig
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.chat_template import prompt_ids


@pytest.fixture(scope="module")
def folder(tmp_path_factory, finished):
    folder = tmp_path_factory.mktemp("inspected")
    save(random_gpt(block_size=64), TOKENIZER, folder / "letters")
    lines = CharTokenizer(tuple("abc \n"))
    save(random_gpt(2, vocab_size=lines.vocab_size), lines, folder / "lines")
    instructed(finished, folder / "taught")
    return folder


@pytest.fixture(scope="module")
def ask(folder):
    """Post to a route, and return the status and the JSON."""
    with TestClient(create_app(ServerConfig(), Catalog([folder])), base_url="http://localhost") as client:

        def post(name, headers=None, **body):
            response = client.post(f"/page/api/{name}", json=body, headers=headers)
            return response.status_code, response.json()

        yield post


@pytest.fixture
def told(ask):
    """Post to a route that answers, and return the JSON."""

    def post(name, **body):
        status, table = ask(name, **body)
        assert status == 200, table
        return table

    return post


IDS = [1, 2, 0, 3, 3, 1]


def test_a_look_is_that_of_the_model_on_disk(told, folder):
    model, _ = load(folder / "letters")
    found = told("inspect", model="letters", ids=IDS, parts=["surprise", "distribution", "attention", "lens"])
    assert list(found) == ["surprise", "distribution", "attention", "lens"]
    torch.testing.assert_close(
        torch.tensor(found["surprise"]["nats"][1:]), -logprobs(model, IDS), atol=2e-5, rtol=0
    )
    assert found["attention"]["shape"] == [2, 2, len(IDS)]  # that after the last token
    off = told("inspect", model="letters", ids=IDS, parts=["surprise"], heads_off=[[0, 0]], head=[1, 1])
    assert off["surprise"]["nats"][1:] != found["surprise"]["nats"][1:]
    assert told("inspect", model="letters", ids=IDS, parts=["surprise"])["surprise"] == found["surprise"]


def test_a_checkpoint_is_looked_into_by_its_step(told, folder):
    ids = [3, 4, 5]
    newest = told("inspect", model="taught", checkpoint=20, ids=ids, parts=["surprise"])
    earlier = told("inspect", model="taught", checkpoint=2, ids=ids, parts=["surprise"])
    assert newest["surprise"]["nats"] != earlier["surprise"]["nats"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "nobody"}, 404, "no model 'nobody'"),
        ({"model": "../letters"}, 404, "no model"),
        ({"ids": None}, 400, "ids is missing"),
        ({"ids": [99]}, 400, "the model has 0 to"),
        ({"ids": [0] * 65}, 400, "65 tokens"),
        ({"position": 7}, 400, "position is 7"),
        ({"parts": ["soul"]}, 400, "no part 'soul'"),
        ({"checkpoint": 3}, 404, "no checkpoint of step 3"),
        ({"heads_off": [[9, 0]]}, 400, "no head 9.0"),
        ({"more": 1}, 400, "no field"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_in_words(ask, body, status, words):
    found, table = ask("inspect", **{"model": "letters", "ids": IDS, "parts": ["surprise"], **body})
    assert found == status
    assert words in table["error"]["message"]


@pytest.mark.parametrize("name", ["inspect", "prompt", "about", "remark"])
def test_no_other_page_may_look(ask, name):
    status, table = ask(
        name, headers={"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}, model="letters"
    )
    assert status == 403
    assert table["error"]["code"] == "origin_not_allowed"


def test_a_text_becomes_ids_and_what_is_unknown_is_named(told):
    found = told("prompt", model="letters", text="bad ZEZ cab")
    assert found["text"] == "bad  cab"
    assert found["unknown"] == "ZE"
    assert found["ids"] == TOKENIZER.encode("bad  cab").tolist()
    assert "".join(found["pieces"]) == found["text"]
    assert found["block_size"] == 64


def test_the_token_that_begins_a_text_is_told_where_the_model_was_trained_on_it(told):
    assert told("prompt", model="lines", text="ab")["opening"]["pieces"] == ["<|bos|>"]
    assert told("prompt", model="letters", text="ab")["opening"]["ids"] == []  # one line without an end
    assert told("prompt", model="lines", text="")["pieces"] == ["<|bos|>"]
    assert told("prompt", model="lines", text="")["opening"]["ids"] == []


def test_a_special_token_that_is_typed_is_text(told):
    found = told("prompt", model="letters", text="<|end|>")
    assert (found["text"], found["unknown"]) == ("ed", "<|n>")
    assert not any(found["special"])


SYSTEM = {"role": "system", "content": "abc"}


def talk(*contents):
    return [
        {"role": ("user", "assistant")[at % 2], "content": content} for at, content in enumerate(contents)
    ]


def test_a_conversation_is_what_the_chat_template_makes_of_it(told):
    messages = [SYSTEM, *talk("a", "b", "c")]
    found = told("prompt", model="letters", messages=messages, answer=8)
    assert found["ids"] == prompt_ids(TOKENIZER, messages)
    assert (found["messages"], found["n_dropped"], found["unknown"]) == (messages, 0, "")


def test_the_oldest_messages_leave_the_window_and_are_counted(told):
    messages = [SYSTEM, *talk("a" * 20, "b" * 20, "c")]
    found = told("prompt", model="letters", messages=messages, answer=30)
    assert found["n_dropped"] == 2
    assert found["messages"] == [SYSTEM, *talk("c")]
    assert found["ids"] == prompt_ids(TOKENIZER, found["messages"])


def test_unknown_characters_of_a_message_are_left_out(told):
    found = told("prompt", model="letters", messages=talk("aXbX"))
    assert (found["messages"], found["unknown"]) == (talk("ab"), "X")
    found = told("prompt", model="letters", messages=[{"role": "system", "content": "XYZ"}, *talk("a")])
    assert found["messages"] == talk("a")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "either text or messages"),
        ({"text": "a", "messages": talk("a")}, "either text or messages"),
        ({"text": "XYZ"}, "never seen any"),
        ({"messages": talk("XYZ")}, "nothing is left"),
        ({"messages": talk("a", "b")}, "no question"),
        ({"messages": []}, "empty"),
        ({"messages": [SYSTEM]}, "no question"),
        ({"messages": [*talk("a"), *talk("a")]}, "turn 2 is the user's"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "role 'tool'"),
        ({"messages": talk("a" * 64)}, "too long"),
    ],
)
def test_what_nothing_can_be_made_of_is_refused_in_words(ask, body, words):
    status, table = ask("prompt", model="letters", **body)
    assert status == 400
    assert words in table["error"]["message"]


def test_a_model_tells_its_sizes_and_whose_ids_it_shares(told):
    letters, lines = told("about", model="letters"), told("about", model="lines")
    assert (letters["n_layer"], letters["n_head"], letters["block_size"]) == (2, 2, 64)
    assert letters["special"]["<|end|>"] == TOKENIZER.special_ids["<|end|>"]
    assert letters["tokenizer"] != lines["tokenizer"]
    assert (
        told("about", model="taught")["tokenizer"] == told("about", model="taught", checkpoint=2)["tokenizer"]
    )


def test_an_assistant_tells_what_it_was_taught(told):
    assert told("about", model="taught")["taught"]["examples"] == ["Repeat: the cat"]
    assert "capitals" in told("about", model="taught")["taught"]["skills"]
    assert told("about", model="letters")["taught"] is None


@pytest.mark.parametrize(
    ("contents", "met", "words"),
    [
        (["Repeat: the cat", "the cat"], True, "done as asked"),
        (["Repeat: the cat", "the dog"], False, "not what was asked for"),
        (["Who art thou?", "I."], None, "a guess"),
        (["Repeat: the cat", "the cat", "In capitals.", "THE CAT"], True, "done as asked"),
    ],
)
def test_the_checker_speaks_of_the_last_answer(told, contents, met, words):
    found = told("remark", model="taught", messages=talk(*contents))
    assert found["met"] is met
    assert words in found["remark"]


def test_there_is_no_remark_on_a_model_that_was_taught_no_requests(told):
    messages = talk("Repeat: the cat", "the cat")
    assert told("remark", model="letters", messages=messages) == {"remark": None, "met": None}


def test_an_answer_is_json_that_browsers_read(told):
    found = told("inspect", model="letters", ids=[0], parts=["surprise", "attention", "lens"])
    json.loads(json.dumps(found, allow_nan=False))  # one token has no statistics: null, not NaN
