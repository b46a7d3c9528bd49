"""Fields that several endpoints have, and what they stand for."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from folio.inference.drawing import TokenLogprobs
from folio.inference.sampling import RowSampling, SamplingConfig
from folio.server.errors import ApiError
from folio.server.fields import Field, Fields, Values, accepted, flag, number, refused, whole
from folio.server.models import Served
from folio.server.text import Token
from folio.server.vocabulary import Vocabulary

MOST_TOP = 20
"""Most alternatives to report for a token."""
MOST_CHOICES = 128
MOST_TOKENS = 10**6
DONE = b"data: [DONE]\n\n"
LOWEST = -9999.0
"""In place of minus infinity, which JSON lacks."""
STOP: Mapping[str, Any] = {
    "anyOf": [
        {"type": "string", "maxLength": 1000},
        {"type": "array", "items": {"type": "string", "maxLength": 1000}, "maxItems": 4},
    ]
}

MODEL: Fields = {
    "model": Field(
        schema={"type": "string", "minLength": 1, "maxLength": 1000},
        use="id of a model, or id@step for a checkpoint; may be left out where one is served",
    )
}
SAMPLING: Fields = {
    "temperature": number("divides the scores; 0 takes the likeliest token", 0, 2),
    "top_p": Field(
        schema={"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        use="draws from the fewest tokens that together have this probability",
    ),
    "top_k": whole("draws from the k likeliest tokens; 0 or -1 for all (extension)", -1, 10**6),
    "min_p": Field(
        schema={"type": "number", "minimum": 0, "maximum": 0.999999},
        use="draws from tokens at least this fraction as likely as the likeliest (extension)",
    ),
}
"""Of every endpoint that writes."""
CHOICES: Fields = {
    "n": whole("answers to write", 1, MOST_CHOICES),
    "seed": whole("the same seed gives the same answer; each choice tells its own", -(2**63), 2**63 - 1),
    "stop": Field(schema=STOP, use="up to 4 strings before which the answer ends"),
    "presence_penalty": number("makes tokens less likely that the answer has", -2, 2),
    "frequency_penalty": number("makes tokens less likely as often as the answer has them", -2, 2),
    "repetition_penalty": number(
        "makes tokens less likely that prompt or answer have (extension)", 0.001, 1000
    ),
    "logit_bias": Field(
        schema={
            "type": "object",
            "maxProperties": 1000,
            "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
        },
        use="added to the scores of up to 1,000 tokens, by id",
    ),
    "stream": flag("sends the answer as it is written"),
    "stream_options": Field(
        schema={
            "type": "object",
            "properties": {
                "include_usage": {"type": "boolean"},
                "include_obfuscation": {"type": "boolean"},
            },
            "additionalProperties": False,
        },
        use="include_usage: the last event counts the tokens; include_obfuscation changes nothing here",
    ),
    "return_token_ids": flag("adds token_ids to choices (extension)"),
}
"""Of chat and completions."""
BYSTANDERS: Fields = {
    "user": accepted("string"),
    "metadata": accepted("object"),
    "service_tier": accepted("string"),
    "safety_identifier": accepted("string"),
    "prompt_cache_key": accepted("string", "changes nothing: whatever can be shared is"),
    "prompt_cache_retention": accepted("string"),
    "prompt_cache_options": accepted("object"),
    "moderation": refused("nothing here judges what is asked or written"),
}


@dataclass(frozen=True)
class Heading:
    """What every object of one answer says of itself."""

    id: str
    created: int
    model: str
    fingerprint: str

    @classmethod
    def of(cls, prefix: str, served: Served) -> Heading:
        """Return a new one. prefix: of its id, as in "chatcmpl-"."""
        return cls(f"{prefix}{secrets.token_hex(12)}", int(time.time()), served.name, served.fingerprint)

    def to_table(self, kind: str) -> dict[str, object]:
        """Return the first fields of an object of that kind."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


class Chunks:
    """The events of a stream, put together from constant parts: at small models JSON is what takes time.

    kind: the name of an event's object. has_usage: whether the last event tells the usage.
    """

    def __init__(self, heading: Heading, kind: str, has_usage: bool) -> None:
        self._head = f"data: {json.dumps(heading.to_table(kind), separators=(',', ':'))[:-1]},"
        no_usage = ',"usage":null' if has_usage else ""
        self._before = f'{self._head}"choices":['
        self._after = f"]{no_usage}}}\n\n"
        self._has_usage = has_usage

    def events(self, choices: Iterable[str]) -> bytes:
        """Return an event for each choice, which is JSON."""
        before, after = self._before, self._after
        return "".join([f"{before}{choice}{after}" for choice in choices]).encode()

    def end(self, usage: Mapping[str, object]) -> bytes:
        """Return the last events: the usage, if it is wanted, and the word that nothing follows."""
        if not self._has_usage:
            return DONE
        told = json.dumps(usage, separators=(",", ":"))
        return f'{self._head}"choices":[],"usage":{told}}}\n\n'.encode() + DONE


def json_response(table: Mapping[str, object]) -> Response:
    """Return a table as a response, in ASCII."""
    return Response(json.dumps(table, separators=(",", ":")), media_type="application/json")


def read_sampling(values: Values) -> SamplingConfig:
    """Return how tokens are drawn."""
    top_k = values.get("top_k", 0)
    return SamplingConfig(
        temperature=values.get("temperature", 1.0),
        top_p=values.get("top_p", 1.0),
        top_k=top_k if top_k > 0 else None,
        min_p=values.get("min_p", 0.0),
        repetition_penalty=values.get("repetition_penalty", 1.0),
    )


def read_how(values: Values, vocabulary: Vocabulary, top_logprobs: int) -> RowSampling:
    """Return draws and reports. Log-probabilities are those of the model itself, whatever the settings."""
    n_tokens = len(vocabulary.bytes)
    return RowSampling(
        sampling=read_sampling(values),
        vocab_size=n_tokens,
        presence_penalty=values.get("presence_penalty", 0.0),
        frequency_penalty=values.get("frequency_penalty", 0.0),
        logit_bias={
            read_id(name, n_tokens): float(bias) for name, bias in values.get("logit_bias", {}).items()
        },
        top_logprobs=top_logprobs,
    )


def read_id(name: str, n_tokens: int) -> int:
    """Return the id of a token that a key of logit_bias names."""
    id = int(name) if name.isascii() and name.isdigit() and len(name) < 12 else n_tokens
    if id >= n_tokens or str(id) != name:
        raise ApiError(
            400, f"logit_bias has {name[:40]!r}: its keys are ids from 0 to {n_tokens - 1}.", "logit_bias"
        )
    return id


def read_stop(values: Values) -> list[str]:
    """Return the strings before which an answer ends; an empty one is none."""
    stop = values.get("stop", [])
    return [each for each in ([stop] if isinstance(stop, str) else stop) if each]


def includes_usage(values: Values) -> bool:
    """Return whether a stream ends with its usage. Raises ApiError for stream_options without a stream."""
    options = values.get("stream_options")
    if options is not None and not values.get("stream", False):
        raise ApiError(400, "stream_options is only for stream: true.", "stream_options")
    return bool((options or {}).get("include_usage"))


def logprob_entries(vocabulary: Vocabulary, tokens: Sequence[Token], n_top: int) -> list[dict[str, object]]:
    """Return tokens with their log-probabilities, in the form of chat and responses."""
    return [
        {
            **entry(vocabulary, token.id, token.logprobs.logprob),
            "top_logprobs": [entry(vocabulary, id, value) for id, value in token.logprobs.top[:n_top]],
        }
        for token in tokens
        if token.logprobs is not None
    ]


def entry(vocabulary: Vocabulary, id: int, logprob: float) -> dict[str, object]:
    """Return one token with its log-probability."""
    content = vocabulary.bytes[id] if id < len(vocabulary.bytes) else b""
    return {"token": vocabulary.name(id), "logprob": finite(logprob), "bytes": list(content)}


def finite(logprob: float) -> float:
    """Return a number that JSON can hold."""
    return logprob if logprob > LOWEST else LOWEST


def logprobs_of(report: TokenLogprobs | None) -> float | None:
    """Return the log-probability of a token; None for the first one, which nothing predicts."""
    return None if report is None else finite(report.logprob)
