"""/v1/chat/completions: a conversation in, the assistant's next message out."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from folio.server.body import read_json_object
from folio.server.errors import ApiError
from folio.server.fields import Fields, Values, accepted, flag, read_fields, refused, whole
from folio.server.messages import MESSAGES, conversation_ids, read_messages
from folio.server.models import Served
from folio.server.shared_fields import (
    BYSTANDERS,
    CHOICES,
    MODEL,
    MOST_TOKENS,
    MOST_TOP,
    SAMPLING,
    Chunks,
    Heading,
    includes_usage,
    json_response,
    logprob_entries,
    read_how,
    read_stop,
)
from folio.server.streaming import KEEP_ALIVE, EventStream, Nothing, error_event, while_connected
from folio.server.text import Token
from folio.server.writing import Piece, Task, Writing

NO_TOOLS = "these models call no tools"
NO_SOUND = "these models read and write text only"
FIELDS: Fields = {
    "messages": MESSAGES,
    **MODEL,
    **SAMPLING,
    **CHOICES,
    "max_completion_tokens": whole(
        "most tokens of the answer; by default what the context has room for", 1, MOST_TOKENS
    ),
    "max_tokens": whole("the same under its old name; max_completion_tokens wins", 1, MOST_TOKENS),
    "logprobs": flag("adds the log-probability of each token, that of the model itself"),
    "top_logprobs": whole("adds so many alternatives to each token; needs logprobs", 0, MOST_TOP),
    "continue_final_message": flag(
        "false: the assistant writes a new message even where the last one is its own (extension)"
    ),
    **BYSTANDERS,
    "store": accepted("boolean", "changes nothing: nothing is stored"),
    "parallel_tool_calls": accepted("boolean"),
    "prediction": accepted("object", "changes nothing: it could only make the answer faster"),
    "tools": refused(NO_TOOLS, []),
    "tool_choice": refused(NO_TOOLS, "none", "auto"),
    "functions": refused(NO_TOOLS, []),
    "function_call": refused(NO_TOOLS, "none", "auto"),
    "response_format": refused("answers are free text", {"type": "text"}),
    "audio": refused(NO_SOUND),
    "modalities": refused(NO_SOUND, ["text"]),
    "reasoning_effort": refused("these models do not think before they answer", "none"),
    "verbosity": refused("ask for a length in words, or set max_completion_tokens", "medium"),
    "web_search_options": refused("nothing here searches the web"),
}


@dataclass(frozen=True)
class ChatForm:
    """What an answer to a request has in it."""

    served: Served
    heading: Heading
    has_logprobs: bool
    n_top: int
    has_ids: bool
    has_usage: bool

    def logprobs(self, tokens: list[Token]) -> dict[str, object] | None:
        """Return the log-probabilities of tokens, where they were asked for."""
        if not self.has_logprobs:
            return None
        entries = logprob_entries(self.served.vocabulary, tokens, self.n_top)
        return {"content": entries, "refusal": None}


async def create_chat(request: Request) -> Response:
    """Answer a conversation."""
    values = read_fields(await read_json_object(request), FIELDS)
    state = request.app.state
    messages = read_messages(values.get("messages"))
    n_top = read_n_top(values)
    has_usage = includes_usage(values)
    served: Served = await state.models.get(values.get("model"))
    ids = await conversation_ids(served, messages, values.get("continue_final_message"))
    task = Task(
        served=served,
        prompts=[ids],
        n=values.get("n", 1),
        most=values.get("max_completion_tokens", values.get("max_tokens")),
        seed=values.get("seed"),
        how=read_how(values, served.vocabulary, n_top),
        stop=read_stop(values),
        stop_ids=(served.tokenizer.special_ids["<|end|>"],),
        param="messages",
    )
    form = ChatForm(
        served=served,
        heading=Heading.of("chatcmpl-", served),
        has_logprobs=values.get("logprobs", False),
        n_top=n_top,
        has_ids=values.get("return_token_ids", False),
        has_usage=has_usage,
    )
    writing = Writing(task, state.metrics)
    if values.get("stream", False):
        return EventStream(stream(writing, form), state.config.timeout, error_event)
    answer = await while_connected(request.receive, whole_answer(writing, form), state.config.timeout)
    return Nothing() if answer is None else json_response(answer)


def read_n_top(values: Values) -> int:
    """Return how many alternatives to report. Raises ApiError where they are asked for without logprobs."""
    n_top: int = values.get("top_logprobs", 0)
    if n_top and not values.get("logprobs", False):
        raise ApiError(400, "top_logprobs needs logprobs: true.", "top_logprobs")
    return n_top


async def whole_answer(writing: Writing, form: ChatForm) -> dict[str, object]:
    """Return the answer as one object."""
    choices: list[dict[str, object]] = [
        {
            "index": index,
            "message": {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []},
            "logprobs": form.logprobs(answer.tokens),
            "finish_reason": answer.finish_reason,
            "seed": writing.seeds[index],
            **({"token_ids": [token.id for token in answer.tokens]} if form.has_ids else {}),
        }
        for index, answer in enumerate(await writing.whole())
    ]
    ids = {"prompt_token_ids": list(writing.task.prompts[0])} if form.has_ids else {}
    return {
        **form.heading.to_table("chat.completion"),
        "choices": choices,
        "usage": writing.usage.to_table(),
        **ids,
    }


async def stream(writing: Writing, form: ChatForm) -> AsyncGenerator[bytes, None]:
    """Yield the events of an answer: for each step one write, put together from constant parts and the text."""
    chunks = Chunks(form.heading, "chat.completion.chunk", form.has_usage)
    has_begun = False
    async for pieces in writing.pieces():
        if not has_begun:
            has_begun = True
            yield chunks.events(role_of(index, seed) for index, seed in enumerate(writing.seeds))
        elif not pieces:
            yield KEEP_ALIVE
        choices = [choice for piece in pieces for choice in choices_of(piece, form)]
        if choices:
            yield chunks.events(choices)
    yield chunks.end(writing.usage.to_table())


def role_of(index: int, seed: int) -> str:
    """Return the first choice of an answer's stream: its role, once, and the seed that repeats it alone."""
    return (
        f'{{"index":{index},"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null,'
        f'"seed":{seed}}}'
    )


def choices_of(piece: Piece, form: ChatForm) -> list[str]:
    """Return a piece as choices: its text and, apart from it, the end."""
    found = []
    if piece.text or (piece.tokens and (form.has_logprobs or form.has_ids)):
        logprobs = json.dumps(form.logprobs(piece.tokens)) if form.has_logprobs else "null"
        ids = f',"token_ids":{[token.id for token in piece.tokens]}' if form.has_ids else ""
        found.append(
            f'{{"index":{piece.index},"delta":{{"content":{json.dumps(piece.text)}}},"logprobs":{logprobs},'
            f'"finish_reason":null{ids}}}'
        )
    if piece.finish_reason is not None:
        found.append(
            f'{{"index":{piece.index},"delta":{{}},"logprobs":null,"finish_reason":"{piece.finish_reason}"}}'
        )
    return found
