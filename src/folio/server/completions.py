"""/v1/completions: a text in, what follows it out."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from folio.inference.batching import Row
from folio.inference.drawing import TokenLogprobs
from folio.server.body import read_json_object
from folio.server.errors import ApiError
from folio.server.fields import Field, Fields, Values, flag, read_fields, refused, whole
from folio.server.models import Served
from folio.server.shared_fields import (
    BYSTANDERS,
    CHOICES,
    MODEL,
    MOST_CHOICES,
    MOST_TOKENS,
    MOST_TOP,
    SAMPLING,
    Chunks,
    Heading,
    finite,
    includes_usage,
    json_response,
    read_how,
    read_stop,
)
from folio.server.streaming import KEEP_ALIVE, EventStream, Nothing, error_event, while_connected
from folio.server.text import Token, decoded, encoded
from folio.server.writing import Piece, Task, Writing

MOST_NEW = 16
"""Tokens of an answer where a request does not say, as at OpenAI."""
IDS: Mapping[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
FIELDS: Fields = {
    "prompt": Field(
        schema={
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST_CHOICES},
                IDS,
                {"type": "array", "items": IDS, "minItems": 1, "maxItems": MOST_CHOICES},
            ]
        },
        use="a text, several, the ids of one, or of several; null for the token that begins a text",
    ),
    **MODEL,
    **SAMPLING,
    **CHOICES,
    "max_tokens": whole(
        f"most tokens of an answer, {MOST_NEW} by default; 0 with echo for the prompt alone", 0, MOST_TOKENS
    ),
    "echo": flag("begins the answer with the prompt"),
    "logprobs": whole(
        "adds log-probabilities, those of the model itself, and so many alternatives", 0, MOST_TOP
    ),
    **BYSTANDERS,
    "best_of": whole("the same as n: nothing is written that is not sent", 1, MOST_TOKENS),
    "suffix": refused("these models write onward only", ""),
}


@dataclass(frozen=True)
class CompletionForm:
    """What an answer to a request has in it.

    echoes: the text of each prompt and where its tokens begin, or nothing. n_top: None for no log-probabilities.
    """

    served: Served
    heading: Heading
    echoes: Sequence[tuple[str, Sequence[int]]]
    n_top: int | None
    has_ids: bool
    has_usage: bool

    def logprobs(self, tokens: Sequence[Token], shift: int) -> dict[str, object] | None:
        """Return four arrays about tokens, where they were asked for. shift: characters before the answer."""
        if self.n_top is None:
            return None
        name = self.served.vocabulary.name
        return {
            "tokens": [name(token.id) for token in tokens],
            "token_logprobs": [token.logprobs and finite(token.logprobs.logprob) for token in tokens],
            "top_logprobs": [token.logprobs and self._top(token.id, token.logprobs) for token in tokens],
            "text_offset": [token.offset + shift for token in tokens],
        }

    def _top(self, id: int, report: TokenLogprobs) -> dict[str, float]:
        name = self.served.vocabulary.name
        top = {name(other): finite(value) for other, value in report.top[: self.n_top]}
        return top | {name(id): finite(report.logprob)}


async def create_completion(request: Request) -> Response:
    """Continue texts."""
    values = read_fields(await read_json_object(request), FIELDS)
    state = request.app.state
    has_usage = includes_usage(values)
    n = read_n(values)
    served: Served = await state.models.get(values.get("model"))
    prompts = await read_prompts(values.get("prompt"), served)
    if len(prompts) * n > MOST_CHOICES:
        raise ApiError(
            400,
            f"{len(prompts)} prompts with n {n} ask for {len(prompts) * n} answers: one request may ask for "
            f"{MOST_CHOICES}.",
            "prompt",
        )
    has_echo, n_top = values.get("echo", False), values.get("logprobs")
    task = Task(
        served=served,
        prompts=prompts,
        n=n,
        most=values.get("max_tokens", MOST_NEW),
        seed=values.get("seed"),
        how=read_how(values, served.vocabulary, n_top or 0),
        stop=read_stop(values),
        stop_ids=tuple(served.tokenizer.end_ids),
        prompt_logprobs=has_echo and n_top is not None,
        shows_end=has_echo,  # lm_eval counts on one token after the prompt, whichever it is
    )
    form = CompletionForm(
        served=served,
        heading=Heading.of("cmpl-", served),
        echoes=[decoded(served.vocabulary, prompt) for prompt in prompts] if has_echo else [],
        n_top=n_top,
        has_ids=values.get("return_token_ids", False),
        has_usage=has_usage,
    )
    writing = Writing(task, state.metrics)
    if values.get("stream", False):
        return EventStream(stream(writing, form), state.config.timeout, error_event)
    answer = await while_connected(request.receive, whole_answer(writing, form), state.config.timeout)
    return Nothing() if answer is None else json_response(answer)


def read_n(values: Values) -> int:
    """Return how many answers to write to each prompt. Raises ApiError where best_of asks for others to choose from."""
    n: int = values.get("n", 1)
    if values.get("best_of", n) != n:
        raise ApiError(
            400,
            "best_of is not supported: set n, and choose by logprobs.",
            "best_of",
            "unsupported_parameter",
        )
    return n


async def read_prompts(prompt: Any, served: Served) -> list[list[int]]:
    """Return the ids of each prompt. Raises ApiError for ids and characters that the model lacks."""
    given = [prompt] if isinstance(prompt, str) or prompt is None or isinstance(prompt[0], int) else prompt
    is_many = prompt is not None and len(given) > 1
    places = [f"prompt[{n}]" if is_many else "prompt" for n in range(len(given))]
    return [await read_prompt(each or "", served, where) for each, where in zip(given, places, strict=True)]


async def read_prompt(prompt: str | list[int], served: Served, where: str) -> list[int]:
    """Return the ids of one prompt."""
    n_tokens = len(served.vocabulary.bytes)
    if not isinstance(prompt, str):
        if max(prompt) >= n_tokens:
            raise ApiError(
                400, f"{where} has the id {max(prompt)}: {served.name} has 0 to {n_tokens - 1}.", where
            )
        return prompt
    return await encoded(served.tokenizer.prompt, prompt, where)


async def whole_answer(writing: Writing, form: CompletionForm) -> dict[str, object]:
    """Return the answers as one object."""
    n = writing.task.n
    choices = []
    for index, answer in enumerate(await writing.whole()):
        prompt = writing.task.prompts[index // n]
        before = form.echoes[index // n][0] if form.echoes else ""
        echoed = echo_tokens(answer.row, prompt, form, index // n) if form.echoes else []
        shifted = [token._replace(offset=token.offset + len(before)) for token in answer.tokens]
        ids = {"token_ids": [token.id for token in answer.tokens], "prompt_token_ids": list(prompt)}
        choices.append(
            {
                "index": index,
                "text": before + answer.text,
                "logprobs": form.logprobs([*echoed, *shifted], 0),
                "finish_reason": answer.finish_reason,
                "seed": writing.seeds[index],
                **(ids if form.has_ids else {}),
            }
        )
    return {
        **form.heading.to_table("text_completion"),
        "choices": choices,
        "usage": writing.usage.to_table(),
    }


def echo_tokens(row: Row | None, prompt: Sequence[int], form: CompletionForm, number: int) -> list[Token]:
    """Return the tokens of a prompt as those of its echo. row: of an answer to it, which has begun. number: of the prompt."""
    _, offsets = form.echoes[number]
    reports: Sequence[TokenLogprobs | None] = (row and row.prompt_logprobs) or [None] * len(prompt)
    return [Token(*each) for each in zip(prompt, reports, offsets, strict=True)]


async def stream(writing: Writing, form: CompletionForm) -> AsyncGenerator[bytes, None]:
    """Yield the events of the answers, each step's in one write."""
    chunks = Chunks(form.heading, "text_completion", form.has_usage)
    openings = {index: opening_of(index, "", form, [], seed) for index, seed in enumerate(writing.seeds)}
    has_begun = False
    async for pieces in writing.pieces():
        if not pieces or not has_begun:
            yield KEEP_ALIVE if has_begun or form.echoes else chunks.events(openings.values())
        has_begun = True
        choices = [choice for piece in pieces for choice in choices_of(piece, form, writing, openings)]
        if choices:
            yield chunks.events(choices)
    yield chunks.end(writing.usage.to_table())


def choices_of(piece: Piece, form: CompletionForm, writing: Writing, openings: dict[int, str]) -> list[str]:
    """Return a piece as choices: its text and, apart from it, the end; before an answer's first, the echo of its prompt.

    openings: an entry for each answer that has had no piece yet.
    """
    n, index = writing.task.n, piece.index
    before = form.echoes[index // n][0] if form.echoes else ""
    found = []
    if openings.pop(index, None) is not None and form.echoes:
        tokens = echo_tokens(piece.event.row, writing.task.prompts[index // n], form, index // n)
        found.append(opening_of(index, before, form, tokens, writing.seeds[index]))
    if piece.text or (piece.tokens and (form.n_top is not None or form.has_ids)):
        found.append(f"{choice_of(index, piece.text, form, piece.tokens, len(before))}}}")
    if piece.finish_reason is not None:
        found.append(f'{{"index":{index},"text":"","logprobs":null,"finish_reason":"{piece.finish_reason}"}}')
    return found


def opening_of(index: int, text: str, form: CompletionForm, tokens: Sequence[Token], seed: int) -> str:
    """Return the first choice of an answer's stream: the echo, or nothing, and the seed that repeats it alone."""
    return f'{choice_of(index, text, form, tokens, 0)},"seed":{seed}}}'


def choice_of(index: int, text: str, form: CompletionForm, tokens: Sequence[Token], shift: int) -> str:
    """Return a choice without its last bracket. shift: characters before the answer."""
    logprobs = "null" if form.n_top is None else json.dumps(form.logprobs(tokens, shift))
    ids = f',"token_ids":{[token.id for token in tokens]}' if form.has_ids else ""
    return f'{{"index":{index},"text":{json.dumps(text)},"logprobs":{logprobs},"finish_reason":null{ids}'
