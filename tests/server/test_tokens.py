"""/tokenize and /detokenize."""

import pytest
from random_models import TOKENIZER


def test_a_text_and_back(server):
    told = server.post("/tokenize", {"model": "chat", "prompt": "abc"}).json()
    ids = TOKENIZER.encode("abc").tolist()
    assert told == {"tokens": ids, "pieces": ["a", "b", "c"], "count": 3, "max_model_len": 128}
    back = server.post("/v1/detokenize", {"model": "chat", "tokens": told["tokens"]}).json()
    assert back == {"prompt": "abc"}


def test_a_conversation_is_what_chat_reads(server):
    messages = [{"role": "system", "content": "f"}, {"role": "user", "content": "ab"}]
    told = server.post("/tokenize", {"model": "chat", "messages": messages}).json()
    assert told["pieces"] == ["<|bos|>", "f", "<|end|>", "<|user|>", "a", "b", "<|end|>", "<|assistant|>"]
    answer = server.post(
        "/v1/chat/completions", {"model": "chat", "messages": messages, "max_tokens": 1}
    ).json()
    assert answer["usage"]["prompt_tokens"] == told["count"]


def test_half_characters_and_special_tokens(server):
    told = server.post("/tokenize", {"model": "base", "prompt": "é"}).json()
    assert told["pieces"] == ["bytes:\\xc3", "bytes:\\xa9"]
    assert server.post("/detokenize", {"model": "base", "tokens": told["tokens"]}).json() == {"prompt": "é"}
    assert server.post("/detokenize", {"model": "base", "tokens": [0]}).json() == {"prompt": "<|endoftext|>"}
    assert server.post("/detokenize", {"model": "base", "tokens": []}).json() == {"prompt": ""}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": [{"role": "user", "content": "a"}]}, "prompt"),
        ("/tokenize", {"prompt": ["a"]}, "prompt"),
        ("/tokenize", {"prompt": "aΩ"}, "prompt"),
        ("/tokenize", {"prompt": "a", "continue_final_message": False}, "continue_final_message"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": [99999]}, "tokens"),
        ("/detokenize", {"tokens": "a"}, "tokens"),
    ],
)
def test_what_is_wrong_is_refused_by_name(server, path, body, param):
    answer = server.post(path, {"model": "chat", **body})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
