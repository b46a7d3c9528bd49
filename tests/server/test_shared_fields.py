"""Fields that several endpoints have."""

import json

import pytest
from random_models import TOKENIZER

from folio.inference.drawing import TokenLogprobs
from folio.inference.sampling import SamplingConfig
from folio.server.errors import ApiError
from folio.server.fields import Values
from folio.server.shared_fields import (
    Chunks,
    Heading,
    includes_usage,
    logprob_entries,
    read_how,
    read_sampling,
    read_stop,
)
from folio.server.text import Token
from folio.server.vocabulary import Vocabulary

VOCABULARY = Vocabulary(TOKENIZER)


def test_sampling_is_the_models_own_by_default():
    assert read_sampling(Values({})) == SamplingConfig()
    assert read_how(Values({}), VOCABULARY, 0).vocab_size == TOKENIZER.vocab_size


@pytest.mark.parametrize(("top_k", "read"), [(-1, None), (0, None), (5, 5)])
def test_top_k_may_be_turned_off(top_k, read):
    assert read_sampling(Values({"top_k": top_k})).top_k == read


@pytest.mark.parametrize(
    ("stop", "read"), [("a", ["a"]), (["a", "b"], ["a", "b"]), ("", []), ([], []), (["", "a"], ["a"])]
)
def test_stop_strings(stop, read):
    assert read_stop(Values({"stop": stop})) == read


def test_stream_options_are_for_streams():
    assert not includes_usage(Values({"stream": True}))
    assert includes_usage(Values({"stream": True, "stream_options": {"include_usage": True}}))
    assert not includes_usage(Values({"stream": True, "stream_options": {"include_usage": None}}))
    with pytest.raises(ApiError, match="stream_options"):
        includes_usage(Values({"stream_options": {}}))


def test_what_no_number_holds_is_told_as_the_lowest():
    token = Token(0, TokenLogprobs(float("-inf"), ((1, float("nan")),)), 0)
    (told,) = logprob_entries(VOCABULARY, [token], 1)
    assert told["logprob"] == told["top_logprobs"][0]["logprob"] == -9999.0
    json.loads(json.dumps(told, allow_nan=False))


def test_chunks_put_together_are_json():
    heading = Heading('id"', 5, "mödel\n", "fp")
    for has_usage in (True, False):
        chunks = Chunks(heading, "kind", has_usage)
        events = (chunks.events(['{"a":1}', '{"a":2}']) + chunks.end({"n": 5})).decode().split("\n\n")
        tables = [json.loads(event[6:]) for event in events if event.startswith("data: {")]
        assert [table["choices"] for table in tables[:2]] == [[{"a": 1}], [{"a": 2}]]
        assert {(table["id"], table["model"], table["object"]) for table in tables} == {
            ('id"', "mödel\n", "kind")
        }
        assert ("usage" in tables[0]) is has_usage
        assert len(tables) == 2 + has_usage
        assert events[-2:] == ["data: [DONE]", ""]
