"""/v1/responses through OpenAI's client, which since version 2 begins its README with it."""

import openai
import pytest
from openai.types.responses import response_create_params

from folio.server.responses import FIELDS, LOGPROBS


def test_the_first_example_of_the_clients_readme(client):
    response = client.responses.create(model="silent", instructions="abc", input="def")
    assert response.output_text == ""
    assert (response.status, response.object, response.model) == ("completed", "response", "silent")
    assert response.output[0].role == "assistant"
    assert response.usage.input_tokens == 1 + 4 + 5 + 1
    assert response.instructions == "abc"
    assert response.previous_response_id is None


def test_an_answer_that_is_cut_says_so(client):
    response = client.responses.create(model="long", input="abc", max_output_tokens=5)
    assert len(response.output_text) == response.usage.output_tokens == 5
    assert response.status == response.output[0].status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize(("model", "status"), [("long", "incomplete"), ("silent", "completed")])
def test_the_events_of_a_stream_in_their_order(client, model, status):
    events = list(client.responses.create(model=model, input="abc", max_output_tokens=4, stream=True))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *["output_text.delta"] * (4 if model == "long" else 0),
        *("output_text.done", "content_part.done", "output_item.done", status),
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    final = events[-1].response
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == final.output_text
    assert final.usage.output_tokens == (4 if model == "long" else 1)
    assert {event.item_id for event in events if hasattr(event, "item_id")} == {final.output[0].id}


def test_the_helper_for_streams(client):
    with client.responses.stream(model="silent", input="abc") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert final.status == "completed"


def test_log_probabilities_where_they_are_included(client):
    body = {"model": "long", "input": "abc", "max_output_tokens": 3, "include": [LOGPROBS], "top_logprobs": 2}
    part = client.responses.create(**body).output[0].content[0]
    assert "".join(each.token for each in part.logprobs) == part.text
    assert [len(each.top_logprobs) for each in part.logprobs] == [2, 2, 2]
    events = client.responses.create(**body, stream=True)
    told = [event.logprobs for event in events if event.type == "response.output_text.delta"]
    assert [len(each) for each in told] == [1, 1, 1]


def test_a_conversation_may_be_sent_back_as_it_was_received(client):
    first = client.responses.create(model="long", input="abc", max_output_tokens=3)
    items = [{"role": "user", "content": "abc"}, *(item.to_dict() for item in first.output)]
    items.append({"role": "user", "content": [{"type": "input_text", "text": "de"}]})
    again = client.responses.create(model="long", input=items, max_output_tokens=3)
    assert again.usage.input_tokens == 1 + 5 + 5 + 4 + 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"text": {"format": {"type": "json_object"}}}, "text"),
        ({"reasoning": {"effort": "high"}}, "reasoning"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["reasoning.encrypted_content"]}, "include[0]"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"input": [{"type": "function_call_output", "call_id": "1", "output": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"stop": "a"}, "stop"),
        ({"input": "xyz"}, "input"),
        ({"instructions": "xyz"}, "instructions"),
        ({"instructions": "abc", "input": [{"role": "user", "content": "xyz"}]}, "input[0].content"),
        ({"instructions": "abc", "input": [{"role": "system", "content": "abc"}]}, "input[0].role"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(server, body, param):
    with server.http() as http:
        answer = http.post("/v1/responses", json={"model": "silent", "input": "abc", **body})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_nothing_is_stored(client):
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")


def test_a_prompt_that_is_too_long(client):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.responses.create(model="chat", input="a" * 200)
    assert (refusal.value.code, refusal.value.param) == ("context_length_exceeded", "input")


def test_the_fields_of_the_official_client_are_all_known():
    hints = response_create_params.ResponseCreateParamsNonStreaming.__annotations__
    assert set(hints) - set(FIELDS) == set()
