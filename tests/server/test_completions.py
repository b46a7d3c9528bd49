"""/v1/completions through OpenAI's client, and as lm-eval asks it."""

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec

import openai
import pytest
import torch
from openai.types import completion_create_params
from random_models import TOKENIZER

from folio.runs.load import load
from folio.server.completions import FIELDS

NO_SPECIAL = {str(id): -100 for id in TOKENIZER.special_ids.values()}
SHORT = {"model": "base", "prompt": "the cat", "max_tokens": 8, "seed": 1}
LETTERS = {**SHORT, "model": "chat", "prompt": "abc", "logit_bias": NO_SPECIAL}


def chunks_of(client, **body):
    return list(client.completions.create(**{**LETTERS, "stream": True, **body}))


def text_of(chunks, index=0):
    return "".join(choice.text for chunk in chunks for choice in chunk.choices if choice.index == index)


def test_a_completion_has_every_field_that_clients_read(client):
    answer = client.completions.create(**LETTERS)
    table = answer.to_dict()
    assert (table["object"], table["id"][:5], table["model"]) == ("text_completion", "cmpl-", "chat")
    assert table["choices"][0].keys() >= {"text", "index", "logprobs", "finish_reason"}
    assert len(answer.choices[0].text) == 8
    assert answer.usage.to_dict()["total_tokens"] == 11


def test_a_stream_has_the_same_name_and_shape_and_text(client, server):
    whole = client.completions.create(**LETTERS, n=2)
    # The official types have no null for the finish_reason of a piece, which OpenAI itself sends.
    chunks = chunks_of(
        server.client(_strict_response_validation=False), n=2, stream_options={"include_usage": True}
    )
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    for index in (0, 1):
        assert text_of(chunks, index) == whole.choices[index].text
    ends = [choice for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert sorted((end.index, end.text, end.finish_reason) for end in ends) == [
        (0, "", "length"),
        (1, "", "length"),
    ]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 16


def test_prompts_may_be_texts_or_ids_one_or_many(client):
    ids = TOKENIZER.encode("abc").tolist()
    one = client.completions.create(**LETTERS).choices[0].text
    assert client.completions.create(**{**LETTERS, "prompt": ids}).choices[0].text == one
    assert client.completions.create(**{**LETTERS, "prompt": ["abc"]}).choices[0].text == one
    other = client.completions.create(**{**LETTERS, "prompt": "fed"}).choices[0].text
    many = client.completions.create(**{**LETTERS, "prompt": ["abc", "fed"]}, n=2)
    assert [choice.index for choice in many.choices] == [0, 1, 2, 3]
    assert [many.choices[k].text for k in (0, 2)] == [one, other]
    lists = client.completions.create(**{**LETTERS, "prompt": [ids, ids]})
    assert [choice.text for choice in lists.choices] == [one, one]
    assert many.usage.prompt_tokens == 6


def test_equal_prompts_without_a_seed_get_different_answers(client):
    body = {**LETTERS, "prompt": ["abc"] * 4, "seed": None, "max_tokens": 20}
    assert len({choice.text for choice in client.completions.create(**body).choices}) == 4


def test_no_prompt_is_the_token_that_begins_a_text(server):
    with server.http() as http:
        answers = [
            http.post("/v1/completions", json={**SHORT, **prompt, "return_token_ids": True}).json()
            for prompt in ({"prompt": None}, {"prompt": ""})
        ]
        left_out = {name: value for name, value in SHORT.items() if name != "prompt"}
        answers.append(http.post("/v1/completions", json={**left_out, "return_token_ids": True}).json())
    assert {tuple(answer["choices"][0]["prompt_token_ids"]) for answer in answers} == {(0,)}


def test_log_probabilities_are_four_arrays(client):
    logprobs = client.completions.create(**LETTERS, logprobs=2).choices[0].logprobs
    assert [len(each) for each in (logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs)] == [
        8
    ] * 3
    assert logprobs.text_offset == list(range(8))
    for token, value, top in zip(
        logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True
    ):
        assert top[token] == value
        assert len(top) in (2, 3)
    none = client.completions.create(**LETTERS, logprobs=0).choices[0].logprobs
    assert none.token_logprobs == logprobs.token_logprobs
    assert all(list(top) == [token] for token, top in zip(none.tokens, none.top_logprobs, strict=True))


def test_half_characters_have_names_that_tell_them_apart(client):
    answer = client.completions.create(**{**SHORT, "max_tokens": 50, "seed": 3}, logprobs=20)
    names = [name for top in answer.choices[0].logprobs.top_logprobs for name in top]
    assert any(name.startswith("bytes:\\x") for name in names)
    assert all(len(top) in (20, 21) for top in answer.choices[0].logprobs.top_logprobs)


def test_the_echo_is_the_prompt_and_its_log_probabilities_are_the_models(server, models):
    model, tokenizer = load(models / "chat")
    ids = tokenizer.encode("abcdef").tolist()
    with torch.no_grad():
        expected = model(torch.tensor([ids]))[0].log_softmax(-1)
    body = {**LETTERS, "prompt": ids, "echo": True, "logprobs": 1, "max_tokens": 1}
    with server.http() as http:
        choice = http.post("/v1/completions", json=body).json()["choices"][0]
    told = choice["logprobs"]
    assert choice["text"][:6] == "abcdef"
    assert len(told["tokens"]) == len(told["token_logprobs"]) == len(told["text_offset"]) == 7
    assert told["token_logprobs"][0] is told["top_logprobs"][0] is None
    for t in range(1, 6):
        assert told["token_logprobs"][t] == pytest.approx(float(expected[t - 1, ids[t]]), abs=1e-4)
    assert told["text_offset"] == list(range(7))


def test_lm_evals_local_completions(server):
    """Its request for log-likelihoods, and how it reads the answer: `token_logprobs[ctxlen:-1]`, greedy where the best
    of `top_logprobs` is the token itself."""
    context, continuation = TOKENIZER.encode("abc").tolist(), TOKENIZER.encode("de").tolist()
    body = {
        **{"model": "chat", "prompt": [context + continuation], "temperature": 0, "max_tokens": 1},
        **{"logprobs": 1, "seed": 1234, "echo": True},
    }
    with server.http() as http:
        (choice,) = http.post("/v1/completions", json=body).json()["choices"]
    logprobs = choice["logprobs"]["token_logprobs"][len(context) : -1]
    tops = choice["logprobs"]["top_logprobs"][len(context) : -1]
    tokens = choice["logprobs"]["tokens"][len(context) : -1]
    assert tokens == ["d", "e"]
    assert len(logprobs) == len(tops) == len(continuation)
    assert math.isfinite(sum(logprobs))
    for token, top in zip(tokens, tops, strict=True):
        assert isinstance(max(top, key=top.get) == token, bool)
        assert token in top


@pytest.mark.parametrize("stream", [False, True])
def test_the_echo_tells_the_token_that_ends_the_text(server, stream):
    """Where it was left out, `[ctxlen:-1]` would leave out the last token that lm-eval asks for."""
    body = {"model": "silent", "prompt": "abc", "max_tokens": 1, "logprobs": 1, "echo": True}
    with server.http() as http:
        answer = http.post("/v1/completions", json={**body, "stream": stream})
    if stream:
        events = [json.loads(event[6:]) for event in answer.text.split("\n\n") if event.startswith("data: {")]
        choices = [event["choices"][0] for event in events]
    else:
        choices = answer.json()["choices"]
    arrays = [choice["logprobs"] for choice in choices if choice["logprobs"]]
    assert "".join(choice["text"] for choice in choices) == "abc"
    assert [token for each in arrays for token in each["tokens"]] == ["a", "b", "c", "<|end|>"]
    assert [offset for each in arrays for offset in each["text_offset"]] == [0, 1, 2, 3]


def test_echo_of_the_prompt_alone(server):
    body = {**LETTERS, "echo": True, "max_tokens": 0, "logprobs": 0}
    with server.http() as http:
        answer = http.post("/v1/completions", json=body).json()
        silent = http.post("/v1/completions", json={**LETTERS, "max_tokens": 0}).json()
    assert answer["choices"][0]["text"] == "abc"
    assert answer["choices"][0]["logprobs"]["tokens"] == ["a", "b", "c"]
    assert answer["usage"]["completion_tokens"] == 0
    assert silent["choices"][0]["text"] == ""


def test_echo_as_a_stream(server):
    body = {**LETTERS, "echo": True, "logprobs": 1, "n": 2, "stream": True}
    with server.http() as http:
        whole = http.post("/v1/completions", json={**body, "stream": False}).json()
        lines = http.post("/v1/completions", json=body).text.split("\n\n")
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    for index in (0, 1):
        parts = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert "".join(part["text"] for part in parts) == whole["choices"][index]["text"]
        for name in ("tokens", "token_logprobs", "text_offset", "top_logprobs"):
            joined = [each for part in parts if part["logprobs"] for each in part["logprobs"][name]]
            assert joined == whole["choices"][index]["logprobs"][name]


def test_a_prompt_that_fills_the_context_leaves_room_for_one_token(client):
    answer = client.completions.create(**{**LETTERS, "prompt": "a" * 128})
    assert answer.usage.completion_tokens == 1
    with pytest.raises(openai.BadRequestError) as refusal:
        client.completions.create(**{**LETTERS, "prompt": "a" * 129})
    assert refusal.value.code == "context_length_exceeded"
    assert (refusal.value.param, "129" in refusal.value.message, "128" in refusal.value.message) == (
        "prompt", True, True,
    )  # fmt: skip


def test_a_prompt_of_10_000_tokens_is_refused_at_once(client):
    with pytest.raises(openai.BadRequestError, match="10,000"):
        client.completions.create(**{**LETTERS, "prompt": "abcd" * 2500})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": [12]}, "prompt"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": [10**30]}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt[1]"),
        ({"prompt": [["a"]]}, "prompt[0][0]"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "Ω"}, "prompt"),
        ({"prompt": ["a", "Ω"]}, "prompt[1]"),
        ({"best_of": 2}, "best_of"),
        ({"suffix": "x"}, "suffix"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 21}, "logprobs"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"prompt": ["a"] * 50, "n": 3}, "prompt"),
        ({"messages": [{"role": "user", "content": "a"}]}, "messages"),
    ],
)
def test_what_is_wrong_is_refused_by_name(server, body, param):
    with server.http() as http:
        answer = http.post("/v1/completions", json={**LETTERS, **body})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_an_unknown_character_is_told_with_its_place(server):
    with server.http() as http:
        error = http.post("/v1/completions", json={**LETTERS, "prompt": "abΩ"}).json()["error"]
    assert error["code"] == "unknown_character"
    assert "'Ω' (character 3, line 1)" in error["message"]


def test_the_fields_of_the_official_client_are_all_known():
    hints = completion_create_params.CompletionCreateParamsNonStreaming.__annotations__
    assert set(hints) - set(FIELDS) == set()


def test_the_sixteen_tokens_of_openai_where_no_limit_is_given(client):
    body = {name: value for name, value in LETTERS.items() if name != "max_tokens"}
    assert client.completions.create(**body).usage.completion_tokens == 16


def test_a_model_ends_its_text_itself(client):
    answer = client.completions.create(model="silent", prompt="abc")
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("", "stop")


TASK = """
task: letters
dataset_path: json
dataset_kwargs: {{data_files: {{validation: {rows}}}}}
validation_split: validation
output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_choice: choices
doc_to_target: gold
target_delimiter: ""
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")
def test_lm_eval_finds_the_accuracy_that_the_model_has(server, models, tmp_path):
    questions = [("abc", ["d", "e", "fade"]), ("bad", ["cab", "f", "de"]), ("fee", ["a", "deed", "bb"])]
    model, tokenizer = load(models / "chat")
    rows, n_right = [], 0
    for question, choices in questions:
        best = max(range(3), key=lambda n: logprob_of(model, tokenizer, question, choices[n]))
        rows.append({"q": question, "choices": choices, "gold": 0})
        n_right += best == 0
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "letters.yaml").write_text(TASK.format(rows=tmp_path / "rows.jsonl"))
    arguments = (
        f"model=chat,base_url={server.address}/v1/completions,tokenizer={models / 'chat'},max_length=128"
    )
    command = [sys.executable, "-m", "lm_eval", "--model", "local-completions", "--model_args", arguments]
    flags = ["--tasks", "letters", "--include_path", str(tmp_path), "--output_path", str(tmp_path / "out")]
    environment = {**os.environ, "OPENAI_API_KEY": "any", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*command, *flags], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = (tmp_path / "out").rglob("results*.json")
    told = json.loads(found.read_text(encoding="utf-8"))["results"]["letters"]
    assert told["acc,none"] == pytest.approx(n_right / 3)


def logprob_of(model, tokenizer, prompt, text):
    ids = tokenizer.encode(prompt + text).tolist()
    with torch.no_grad():
        logprobs = model(torch.tensor([ids]))[0].log_softmax(-1)
    return sum(float(logprobs[t - 1, ids[t]]) for t in range(len(prompt), len(ids)))
