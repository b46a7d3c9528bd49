"""/v1/chat/completions through OpenAI's own client, which checks each response against the official types."""

import asyncio
import json
from itertools import groupby

import openai
import pytest
from openai import AsyncOpenAI
from random_models import TOKENIZER

from folio.server.chat import FIELDS

ASK = [{"role": "user", "content": "abc"}]
NO_END = {"logit_bias": {str(id): -100 for id in TOKENIZER.special_ids.values()}}
"""With this, random models write to their limit, and letters only."""
SHORT = {"model": "chat", "messages": ASK, "max_tokens": 12, "seed": 1, **NO_END}


def chunks_of(client, **body):
    return list(client.chat.completions.create(**{**SHORT, "stream": True, **body}))


def texts_of(chunks, n=1):
    texts = [""] * n
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    return texts


def test_an_answer_has_every_field_that_clients_read(client):
    answer = client.chat.completions.create(**SHORT)
    table = answer.to_dict()
    (choice,) = table["choices"]
    assert table.keys() >= {"id", "object", "created", "model", "choices", "usage", "system_fingerprint"}
    assert (table["object"], table["model"], table["id"][:9]) == ("chat.completion", "chat", "chatcmpl-")
    assert choice.keys() >= {"index", "message", "logprobs", "finish_reason"}
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["refusal"] is choice["logprobs"] is None
    assert (len(choice["message"]["content"]), choice["finish_reason"]) == (12, "length")
    assert answer.usage.prompt_tokens == len("abc") + 4  # <|bos|> <|user|> <|end|> <|assistant|>
    assert (answer.usage.completion_tokens, answer.usage.total_tokens) == (12, 19)
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0
    assert answer.usage.prompt_tokens_details.cached_tokens >= 0


def test_a_stream_is_the_same_answer(client):
    whole = client.chat.completions.create(**SHORT)
    chunks = chunks_of(client)
    assert texts_of(chunks) == [whole.choices[0].message.content]
    assert {(chunk.id, chunk.created, chunk.model, chunk.system_fingerprint) for chunk in chunks} == {
        (chunks[0].id, chunks[0].created, "chat", whole.system_fingerprint)
    }
    first, *middle, last = (chunk.choices[0] for chunk in chunks)
    assert first.delta.to_dict() == {"role": "assistant", "content": ""}
    assert all("role" not in each.delta.to_dict() for each in (*middle, last))
    assert {each.finish_reason for each in (first, *middle)} == {None}
    assert (last.delta.to_dict(), last.finish_reason, last.logprobs) == ({}, "length", None)


def test_the_bytes_of_a_stream(server):
    with server.http() as http:
        answer = http.post("/chat/completions", json={**SHORT, "stream": True, "max_tokens": 2})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    choices = [json.loads(event.removeprefix("data: "))["choices"][0] for event in events[:-2]]
    assert all({"index", "delta", "logprobs", "finish_reason"} <= choice.keys() for choice in choices)


def test_usage_comes_in_a_chunk_of_its_own_where_it_is_wanted(client):
    with_usage = chunks_of(client, stream_options={"include_usage": True})
    *others, last = with_usage
    assert last.choices == []
    assert last.object == "chat.completion.chunk"
    assert last.usage.completion_tokens == 12
    assert all("usage" in each.to_dict() and each.usage is None for each in others)
    for options in ({}, {"include_usage": False}, None):
        assert all("usage" not in each.to_dict() for each in chunks_of(client, stream_options=options))


def test_several_answers_differ_and_each_carries_the_seed_that_repeats_it(client):
    answer = client.chat.completions.create(**SHORT, n=3)
    texts = [choice.message.content for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len(set(texts)) == 3
    assert answer.choices[0].seed == 1
    for choice in answer.choices:
        alone = client.chat.completions.create(**{**SHORT, "seed": choice.seed})
        assert alone.choices[0].message.content == choice.message.content
    assert answer.usage.prompt_tokens == 7
    assert answer.usage.completion_tokens == 36


def test_several_answers_as_a_stream_begin_in_order_and_are_the_same(client):
    whole = client.chat.completions.create(**SHORT, n=3)
    chunks = chunks_of(client, n=3)
    assert [chunk.choices[0].index for chunk in chunks[:3]] == [0, 1, 2]
    assert all(len(chunk.choices) == 1 for chunk in chunks)
    assert texts_of(chunks, 3) == [choice.message.content for choice in whole.choices]


def test_the_helper_that_adds_up_a_stream(client):
    body = {**SHORT, "model": "long", "stop": "ee", "max_tokens": 500}
    whole = client.chat.completions.create(**body, n=3)
    with client.chat.completions.stream(
        **body, n=3, stream_options={"include_usage": True}, logprobs=True, top_logprobs=2
    ) as stream:
        kinds = [kind for kind, _ in groupby(event.type for event in stream)]
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert [(choice.message.role, choice.finish_reason) for choice in final.choices] == [
        ("assistant", "stop")
    ] * 3
    assert [c.message.content for c in final.choices] == [c.message.content for c in whole.choices]
    assert final.usage.prompt_tokens == whole.usage.prompt_tokens
    assert final.usage.completion_tokens == whole.usage.completion_tokens
    for choice in final.choices:
        assert "".join(each.token for each in choice.logprobs.content) == choice.message.content


def test_the_asynchronous_client(server):
    async def ask_all():
        async with AsyncOpenAI(
            base_url=f"{server.address}/v1", api_key="any", max_retries=0, _strict_response_validation=True
        ) as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(**{**SHORT, "seed": seed}) for seed in range(8))
            )
            stream = await client.chat.completions.create(**{**SHORT, "seed": 3}, stream=True)
            return answers, texts_of([chunk async for chunk in stream])

    answers, texts = asyncio.run(ask_all())
    assert [answers[3].choices[0].message.content] == texts
    assert len({answer.choices[0].message.content for answer in answers}) == 8


def test_log_probabilities_joined_are_the_answer(client):
    choice = client.chat.completions.create(**SHORT, logprobs=True, top_logprobs=3).choices[0]
    assert "".join(each.token for each in choice.logprobs.content) == choice.message.content
    for each in choice.logprobs.content:
        assert bytes(each.bytes).decode() == each.token
        assert len(each.top_logprobs) == 3
        values = [top.logprob for top in each.top_logprobs]
        assert values == sorted(values, reverse=True)
        assert each.logprob <= 0
    alone = client.chat.completions.create(**SHORT, logprobs=True).choices[0].logprobs
    assert [each.top_logprobs for each in alone.content] == [[]] * 12
    assert alone.refusal is None


def test_log_probabilities_are_the_models_own_whatever_the_settings(client):
    body = {**SHORT, "logprobs": True, "top_logprobs": 5, "max_tokens": 1}
    plain = client.chat.completions.create(**body).choices[0].logprobs.content[0].top_logprobs
    for change in ({"temperature": 0}, {"temperature": 2}, {"top_p": 0.1}, {"presence_penalty": 2}):
        told = client.chat.completions.create(**{**body, **change}).choices[0].logprobs.content[0]
        assert [top.token for top in told.top_logprobs] == [top.token for top in plain]
        assert [top.logprob for top in told.top_logprobs] == pytest.approx([top.logprob for top in plain])


def test_log_probabilities_and_ids_as_a_stream(client):
    chunks = chunks_of(client, logprobs=True, extra_body={"return_token_ids": True})
    told = [entry for chunk in chunks if (log := chunk.choices[0].logprobs) for entry in log.content]
    assert "".join(entry.token for entry in told) == texts_of(chunks)[0]
    ids = [id for chunk in chunks for id in getattr(chunk.choices[0], "token_ids", [])]
    whole = client.chat.completions.create(**SHORT, extra_body={"return_token_ids": True})
    assert ids == whole.choices[0].token_ids
    assert len(whole.prompt_token_ids) == whole.usage.prompt_tokens


@pytest.mark.parametrize("stop", ["a", ["a"], ["xyz", "a"], ["", "a"]])
def test_a_stop_string_ends_the_answer_before_it(client, stop):
    body = {**SHORT, "model": "long", "max_tokens": 400}
    free = client.chat.completions.create(**body).choices[0].message.content
    choice = client.chat.completions.create(**body, stop=stop).choices[0]
    assert choice.message.content == free.partition("a")[0]
    assert choice.finish_reason == "stop"


def test_a_stop_string_over_several_tokens_is_not_shown_in_part(client):
    body = {**SHORT, "model": "long", "max_tokens": 400}
    free = client.chat.completions.create(**body).choices[0].message.content
    stop = free[20:24]
    cut = free.partition(stop)[0]
    chunks = chunks_of(client, **{**body, "stop": stop, "logprobs": True})
    assert texts_of(chunks) == [cut]
    told = [entry for chunk in chunks if (log := chunk.choices[0].logprobs) for entry in log.content]
    assert "".join(entry.token for entry in told) == cut
    so_far = ""
    for chunk in chunks:
        so_far += chunk.choices[0].delta.content or ""
        assert cut.startswith(so_far)


@pytest.mark.parametrize("stop", [None, "", [], [""]])
def test_no_stop_strings(client, stop):
    assert client.chat.completions.create(**SHORT, stop=stop).choices[0].finish_reason == "length"


def test_a_stop_string_does_not_match_across_the_prompt(client):
    body = {**SHORT, "model": "long", "messages": [*ASK, {"role": "assistant", "content": "abc"}]}
    free = client.chat.completions.create(**body).choices[0].message.content
    assert (
        client.chat.completions.create(**body, stop="c" + free[0])
        .choices[0]
        .message.content.startswith(free[:1])
    )


def test_the_first_of_two_limits_wins(client):
    answer = client.chat.completions.create(**SHORT, max_completion_tokens=5)
    assert answer.usage.completion_tokens == 5


def test_without_a_limit_the_answer_may_fill_the_context(client):
    body = {name: value for name, value in SHORT.items() if name != "max_tokens"}
    answer = client.chat.completions.create(**body)
    assert answer.usage.total_tokens == 128 + 1
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(client, stream):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "a" * 200}], stream=stream
        )
    assert refusal.value.code == "context_length_exceeded"
    assert refusal.value.param == "messages"
    assert "204" in refusal.value.message
    assert "128" in refusal.value.message


def test_temperature_0_takes_the_likeliest(client):
    body = {**SHORT, "temperature": 0, "logprobs": True, "top_logprobs": 6}
    one, other = (client.chat.completions.create(**{**body, "seed": seed}).choices[0] for seed in (1, 2))
    assert one.message.content == other.message.content
    for each in one.logprobs.content:
        assert each.token == next(top.token for top in each.top_logprobs if "|" not in top.token)


def test_seeds_may_be_negative_and_are_drawn_where_none_is_given(client):
    body = {name: value for name, value in SHORT.items() if name != "seed"}
    texts = {client.chat.completions.create(**body).choices[0].message.content for _ in range(4)}
    assert len(texts) > 1
    negative = [client.chat.completions.create(**body, seed=-(2**63)).choices[0] for _ in range(2)]
    assert negative[0].message.content == negative[1].message.content
    assert negative[0].seed == -(2**63)


def test_bias_and_penalties_change_the_answer(client):
    body = {**SHORT, "model": "long", "max_tokens": 100}
    only_a = client.chat.completions.create(**{**body, "logit_bias": {"1": 100}})
    assert set(only_a.choices[0].message.content) == {"a"}
    free = client.chat.completions.create(**body, temperature=0).choices[0].message.content
    for name in ("presence_penalty", "frequency_penalty"):
        punished = client.chat.completions.create(**body, temperature=0, **{name: 2}).choices[0]
        assert len(set(punished.message.content)) > len(set(free))


@pytest.mark.parametrize(
    "bias", [{"12": 1}, {"-1": 1}, {"a": 1}, {"1": 101}, {"١": 1}, {"1.0": 1}, {"01": 1}, {"0" * 12 + "1": 1}]
)
def test_bias_for_what_is_no_token_is_refused(client, bias):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(**{**SHORT, "logit_bias": bias})
    assert refusal.value.param.startswith("logit_bias")


def test_extensions_come_through_extra_body(client):
    greedy = client.chat.completions.create(**SHORT, temperature=0).choices[0].message.content
    top = client.chat.completions.create(**SHORT, extra_body={"top_k": 1}).choices[0].message.content
    likely = client.chat.completions.create(**SHORT, extra_body={"min_p": 0.999}).choices[0].message.content
    assert greedy == top == likely
    free = client.chat.completions.create(**SHORT).choices[0].message.content
    off = client.chat.completions.create(**SHORT, extra_body={"top_k": -1, "min_p": 0}).choices[0]
    assert off.message.content == free
    with pytest.raises(openai.BadRequestError, match="between"):
        client.chat.completions.create(**SHORT, extra_body={"repetition_penalty": 0})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"seed": 2**63}, "seed"),
    ],
)
def test_what_would_change_the_answer_and_cannot_be_had_is_refused_by_name(server, body, param):
    with server.http() as http:
        answer = http.post("/v1/chat/completions", json={**SHORT, **body})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith(param)
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_what_asks_for_nothing_or_changes_nothing_is_taken(server):
    body = {
        **SHORT,
        **{"tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "modalities": ["text"]},
        **{"user": "me", "metadata": {"a": "b"}, "store": True, "service_tier": "auto", "functions": []},
        **{"logprobs": False, "top_logprobs": 0},
        **{"parallel_tool_calls": True, "safety_identifier": "x", "prompt_cache_key": "y", "audio": None},
    }
    with server.http() as http:
        plain = http.post("/v1/chat/completions", json=SHORT).json()
        told = http.post("/v1/chat/completions", json=body)
    assert told.status_code == 200, told.text
    assert told.json()["choices"] == plain["choices"]


def test_the_fields_of_the_official_client_are_all_known():
    hints = openai.types.chat.completion_create_params.CompletionCreateParamsNonStreaming.__annotations__
    assert set(hints) - set(FIELDS) == set()


def test_a_model_that_continues_texts_says_what_to_do(client):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model="base", messages=ASK)
    assert "/v1/completions" in refusal.value.message
    assert refusal.value.param == "model"


def test_models_that_are_not_there_or_must_be_named(client):
    with pytest.raises(openai.NotFoundError) as refusal:
        client.chat.completions.create(model="gpt-4o", messages=ASK)
    assert (refusal.value.code, refusal.value.type) == ("model_not_found", "invalid_request_error")
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(messages=ASK, model=None)
    assert refusal.value.param == "model"
    with pytest.raises(openai.BadRequestError, match="reward model"):
        client.chat.completions.create(model="deep/reward", messages=ASK)


def test_an_answer_that_ends_at_once(client):
    answer = client.chat.completions.create(model="silent", messages=ASK)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("", "stop")
    assert answer.usage.completion_tokens == 1
    chunks = chunks_of(client, model="silent", logit_bias=None)
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, "stop"]


def test_an_answer_of_control_characters_arrives_as_it_is(client):
    body = {
        **SHORT,
        "model": "control",
        "logit_bias": None,
        "messages": [{"role": "user", "content": "<\x1b>"}],
    }
    whole = client.chat.completions.create(**body, logprobs=True).choices[0]
    texts = texts_of(chunks_of(client, **body, logprobs=True))
    assert texts == [whole.message.content]
    assert set(whole.message.content) - set("<>&\"'\\") != set()


def test_raw_responses_and_streams_that_are_closed_early(client, server):
    raw = client.chat.completions.with_raw_response.create(**SHORT)
    assert raw.headers["x-request-id"].startswith("req_")
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert raw.parse().choices[0].message.content
    with client.chat.completions.with_streaming_response.create(**SHORT) as response:
        assert response.status_code == 200
    stream = client.chat.completions.create(**{**SHORT, "model": "long", "max_tokens": None}, stream=True)
    next(iter(stream))
    stream.close()


def test_a_client_chosen_request_id_is_kept_where_it_is_harmless(client):
    for given, kept in (("my-id_1", True), ("<script>", False), ("x" * 65, False)):
        raw = client.chat.completions.with_raw_response.create(**SHORT, extra_headers={"x-request-id": given})
        assert (raw.headers["x-request-id"] == given) is kept


def test_the_last_message_of_the_assistant_is_continued(client):
    begun = [*ASK, {"role": "assistant", "content": "abc"}]
    going_on = client.chat.completions.create(**{**SHORT, "messages": begun})
    assert going_on.usage.prompt_tokens == 7 + 3
    anew = client.chat.completions.create(
        **{**SHORT, "messages": begun}, extra_body={"continue_final_message": False}
    )
    assert anew.usage.prompt_tokens == 7 + 3 + 2
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(**SHORT, extra_body={"continue_final_message": True})
    assert refusal.value.param == "continue_final_message"


def test_text_that_looks_like_a_special_token_is_not_one(client):
    with pytest.raises(openai.BadRequestError, match="does not know '<'"):
        client.chat.completions.create(**{**SHORT, "messages": [{"role": "user", "content": "<|end|>"}]})
