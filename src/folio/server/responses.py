"""/v1/responses, without memory: a conversation or a text in, one message out. Nothing is stored."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from folio.server.body import read_json_object
from folio.server.chat import NO_TOOLS
from folio.server.errors import ApiError
from folio.server.fields import Field, Fields, Values, accepted, flag, read_fields, refused, whole
from folio.server.messages import conversation_ids, read_messages
from folio.server.models import Served
from folio.server.shared_fields import (
    BYSTANDERS,
    MODEL,
    MOST_TOKENS,
    MOST_TOP,
    SAMPLING,
    Heading,
    json_response,
    logprob_entries,
    read_how,
)
from folio.server.streaming import KEEP_ALIVE, EventStream, Nothing, while_connected
from folio.server.text import Token
from folio.server.writing import Task, Usage, Writing, Written
from folio.tokenizer.chat_template import Message

LOGPROBS = "message.output_text.logprobs"
NO_MEMORY = "nothing is stored here: send the whole conversation as input"
FIELDS: Fields = {
    "input": Field(
        schema={
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": 2048},
            ]
        },
        use="a question, or the messages of a conversation",
        is_required=True,
    ),
    "instructions": Field(schema={"type": "string"}, use="the system message"),
    **MODEL,
    **SAMPLING,
    "max_output_tokens": whole("most tokens of the answer", 1, MOST_TOKENS),
    "include": Field(
        schema={"type": "array", "items": {"enum": [LOGPROBS]}},
        use=f"{LOGPROBS} adds the log-probability of each token",
    ),
    "top_logprobs": whole(f"adds so many alternatives to each token; needs include {LOGPROBS}", 0, MOST_TOP),
    "stream": flag("sends events as the answer is written"),
    "stream_options": accepted("object", "changes nothing: what is sent is never padded"),
    **BYSTANDERS,
    "parallel_tool_calls": accepted("boolean"),
    "max_tool_calls": accepted("integer"),
    "store": refused(NO_MEMORY, False),
    "previous_response_id": refused(NO_MEMORY),
    "conversation": refused(NO_MEMORY),
    "background": refused(NO_MEMORY, False),
    "background_options": refused(NO_MEMORY),
    "prompt": refused("there are no templates of prompts here"),
    "text": refused(
        "answers are free text",
        {},
        {"format": {"type": "text"}},
        {"format": {"type": "text"}, "verbosity": "medium"},
    ),
    "reasoning": refused("these models do not think before they answer", {}, {"effort": "none"}),
    "truncation": refused("what does not fit is refused, never cut", "disabled"),
    "context_management": refused("what does not fit is refused, never cut"),
    "tools": refused(NO_TOOLS, []),
    "tool_choice": refused(NO_TOOLS, "none", "auto"),
    "image": refused("these models write text only"),
    "access_programs": refused("there are none here"),
}


@dataclass
class Answer:
    """A response as it is written. n_top: None for no log-probabilities."""

    served: Served
    heading: Heading
    values: Values
    n_top: int | None
    written: Written = field(default_factory=Written)
    n_events: int = 0

    @property
    def item_id(self) -> str:
        """The id of the only message."""
        return f"msg_{self.heading.id.partition('_')[2]}"

    @property
    def status(self) -> str:
        """How the message ended."""
        return "completed" if self.written.finish_reason == "stop" else "incomplete"

    def logprobs(self, tokens: list[Token]) -> list[dict[str, object]]:
        """Return the log-probabilities of tokens, none where they were not asked for."""
        return [] if self.n_top is None else logprob_entries(self.served.vocabulary, tokens, self.n_top)

    def part(self) -> dict[str, object]:
        """Return the only part of the message."""
        return {
            "type": "output_text",
            "text": self.written.text,
            "annotations": [],
            "logprobs": self.logprobs(self.written.tokens),
        }

    def item(self, status: str) -> dict[str, object]:
        """Return the message: empty in progress, whole at the end."""
        content = [] if status == "in_progress" else [self.part()]
        return {
            "id": self.item_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def to_table(self, status: str, usage: Usage | None = None) -> dict[str, object]:
        """Return the response in a status. usage: at the end."""
        reason = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": self.heading.id,
            "object": "response",
            "created_at": self.heading.created,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "error": None,
            "incomplete_details": reason,
            "instructions": self.values.get("instructions"),
            "max_output_tokens": self.values.get("max_output_tokens"),
            "metadata": self.values.get("metadata", {}),
            "model": self.heading.model,
            "output": [] if usage is None else [self.item(status)],
            "parallel_tool_calls": self.values.get("parallel_tool_calls", True),
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "system_fingerprint": self.heading.fingerprint,
            "temperature": self.values.get("temperature", 1.0),
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_logprobs": self.n_top or 0,
            "top_p": self.values.get("top_p", 1.0),
            "truncation": "disabled",
            "usage": usage and usage_table(usage),
            "user": self.values.get("user"),
        }

    def event(self, kind: str, **content: Any) -> bytes:
        """Return the next event."""
        table = {"type": kind, "sequence_number": self.n_events, **content}
        self.n_events += 1
        return f"event: {kind}\ndata: {json.dumps(table, separators=(',', ':'))}\n\n".encode()

    def error_event(self, error: ApiError) -> bytes:
        """Return the event of an answer that failed on the way."""
        return self.event("error", code=error.code, message=error.message, param=error.param)


async def create_response(request: Request) -> Response:
    """Answer an input."""
    values = read_fields(await read_json_object(request), FIELDS)
    state = request.app.state
    wants_logprobs = LOGPROBS in values.get("include", ())
    if values.get("top_logprobs") and not wants_logprobs:
        raise ApiError(400, f"top_logprobs needs include: [{LOGPROBS!r}].", "top_logprobs")
    messages, places = read_conversation(values)
    served: Served = await state.models.get(values.get("model"))
    n_top = values.get("top_logprobs", 0) if wants_logprobs else None
    task = Task(
        served=served,
        prompts=[await conversation_ids(served, messages, False, places)],
        n=1,
        most=values.get("max_output_tokens"),
        seed=None,
        how=read_how(values, served.vocabulary, n_top or 0),
        stop=(),
        stop_ids=(served.tokenizer.special_ids["<|end|>"],),
        param="input",
    )
    answer = Answer(served, Heading.of("resp_", served), values, n_top)
    writing = Writing(task, state.metrics)
    if values.get("stream", False):
        return EventStream(stream(writing, answer), state.config.timeout, answer.error_event)
    table = await while_connected(request.receive, whole_answer(writing, answer), state.config.timeout)
    return Nothing() if table is None else json_response(table)


def read_conversation(values: Values) -> tuple[list[Message], list[str]]:
    """Return the messages of an input, instructions first, and the field that has the text of each."""
    given = values.get("input")
    if isinstance(given, str):
        messages: list[Message] = [{"role": "user", "content": given}]
        places = ["input"]
    else:
        messages = read_messages(given, "input")
        places = [f"input[{n}].content" for n in range(len(messages))]
    if instructions := values.get("instructions"):
        if messages[0]["role"] == "system":
            raise ApiError(
                400, "input[0].role is system: instructions are the system's message.", "input[0].role"
            )
        messages.insert(0, {"role": "system", "content": instructions})
        places.insert(0, "instructions")
    return messages, places


def usage_table(usage: Usage) -> dict[str, object]:
    """Return the usage in the form of responses."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


async def whole_answer(writing: Writing, answer: Answer) -> dict[str, object]:
    """Return the answer as one object."""
    (answer.written,) = await writing.whole()
    return answer.to_table(answer.status, writing.usage)


async def stream(writing: Writing, answer: Answer) -> AsyncGenerator[bytes, None]:
    """Yield the events of an answer, those of a step in one write."""
    place = {"item_id": answer.item_id, "output_index": 0, "content_index": 0}
    has_begun = False
    async for pieces in writing.pieces():
        if not has_begun:
            has_begun = True
            yield beginning(answer, place)
        elif not pieces:
            yield KEEP_ALIVE
        deltas = []
        for piece in pieces:
            answer.written.add(piece)
            if piece.text or (piece.tokens and answer.n_top is not None):
                logprobs = answer.logprobs(piece.tokens)
                deltas.append(
                    answer.event("response.output_text.delta", **place, delta=piece.text, logprobs=logprobs)
                )
        if deltas:
            yield b"".join(deltas)
    logprobs, text = answer.logprobs(answer.written.tokens), answer.written.text
    yield b"".join(
        [
            answer.event("response.output_text.done", **place, text=text, logprobs=logprobs),
            answer.event("response.content_part.done", **place, part=answer.part()),
            answer.event("response.output_item.done", output_index=0, item=answer.item(answer.status)),
            answer.event(f"response.{answer.status}", response=answer.to_table(answer.status, writing.usage)),
        ]
    )


def beginning(answer: Answer, place: Mapping[str, object]) -> bytes:
    """Return the events before the first token."""
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    return b"".join(
        [
            answer.event("response.created", response=answer.to_table("in_progress")),
            answer.event("response.in_progress", response=answer.to_table("in_progress")),
            answer.event("response.output_item.added", output_index=0, item=answer.item("in_progress")),
            answer.event("response.content_part.added", **place, part=part),
        ]
    )
