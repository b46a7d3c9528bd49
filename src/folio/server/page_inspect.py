"""Routes of the page that look into a model: what it read, what it was about to say, where it looked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from folio.data.skills import SKILLS, recognized
from folio.errors import UserError
from folio.inference.window import visible_window
from folio.runs import taught
from folio.server.body import read_json_object
from folio.server.looking import Look, running_text, tokens
from folio.server.models import Models, Served
from folio.server.page_fields import list_of, message, read, string, whole
from folio.server.vocabulary import Vocabulary
from folio.tokenizer.chat_template import Message, check_messages
from folio.tokenizer.protocol import Tokenizer
from folio.tokenizer.special_tokens import STANDARD_NAMES, has_chat_tokens

ANSWER = 200
"""Tokens to keep free for an answer, where a request does not say."""
MODEL = {"model": string, "checkpoint": whole}
INSPECT = {
    **MODEL,
    "ids": list_of(whole),
    "position": whole,
    "parts": list_of(string),
    "head": list_of(whole, 2),
    "heads_off": list_of(list_of(whole, 2)),
}
PROMPT = {**MODEL, "text": string, "messages": list_of(message), "answer": whole}
REMARK = {"model": string, "messages": list_of(message)}


def routes() -> list[Route]:
    """Return the routes, for `create_app`."""
    handlers = (inspect, prompt, about, remark)
    return [Route(f"/page/api/{each.__name__}", each, methods=["POST"]) for each in handlers]


async def inspect(request: Request) -> Response:
    """Answer with the parts of a `Look` that are asked for.

    Body: model, ids, parts; maybe checkpoint, position (by default that after the last token), head, heads_off.
    """
    body = read(await read_json_object(request), INSPECT, ("model", "ids", "parts"))
    served = await serve(request, body)

    def look() -> dict[str, object]:
        return Look(
            model=served.model,
            vocabulary=served.vocabulary,
            ids=body["ids"],
            position=body.get("position", len(body["ids"])),
            head=tuple(body["head"]) if "head" in body else None,
            heads_off=[(layer, head) for layer, head in body.get("heads_off", ())],
        ).take(body["parts"])

    return JSONResponse(await served.worker.call(look))


async def prompt(request: Request) -> Response:
    """Answer with the ids of a text to continue, or of a conversation to answer, as far as the model sees it.

    Body: model, text or messages (the user's last); maybe checkpoint, and answer, the tokens to keep free for one. Characters
    that the model does not know are left out and named.
    """
    body = read(await read_json_object(request), PROMPT, ("model",))
    if ("text" in body) == ("messages" in body):
        raise UserError("give either text or messages.")
    served = await serve(request, body)
    block_size = served.model.config.block_size
    if "text" in body:
        told = prompt_of_text(served.vocabulary, body["text"])
    else:
        told = prompt_of_messages(served.vocabulary, body["messages"], block_size, body.get("answer", ANSWER))
    return JSONResponse({**told, "block_size": block_size})


def prompt_of_text(vocabulary: Vocabulary, text: str) -> dict[str, Any]:
    """Return the tokens of a text, and those to put before it so that its first token is predicted as well."""
    tokenizer = vocabulary.tokenizer
    known, unknown = tokenizer.drop_unknown(text)
    if unknown and not known:
        raise UserError(
            "the model has never seen any of these characters: write like the text it was trained on."
        )
    ids = tokenizer.prompt(known)
    return {
        **running_text(vocabulary, ids),
        "text": known,
        "unknown": unknown,
        "opening": tokens(vocabulary, opening(tokenizer, ids)),
    }


def opening(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """Return the token that begins a text in training, where the model was trained on it and the ids have none."""
    begin = tokenizer.special_ids.get(STANDARD_NAMES["bos"])
    was_trained = bool(
        tokenizer.drop_unknown("\n")[0]
    )  # texts without line ends are one line, with no beginning
    return [] if begin is None or not was_trained or ids[0] == begin else [begin]


def prompt_of_messages(
    vocabulary: Vocabulary, messages: Sequence[Message], block_size: int, answer: int
) -> dict[str, Any]:
    """Return the tokens that a model sees of a conversation, its messages in known characters, and how many are not seen."""
    tokenizer = vocabulary.tokenizer
    if not has_chat_tokens(tokenizer.special_ids):
        raise UserError("the model has no chat tokens: it continues texts, as the page Write shows.")
    kept = [tokenizer.drop_unknown(each["content"]) for each in messages]
    known = [
        {"role": each["role"], "content": content} for each, (content, _) in zip(messages, kept, strict=True)
    ]
    if known and not known[-1]["content"]:
        raise UserError("nothing is left of that message: write another.")
    known = [each for each in known if each["content"] or each["role"] != "system"]
    check_messages(known)
    if known[-1]["role"] != "user":
        raise UserError("there is no question to answer.")
    n_system = sum(each["role"] == "system" for each in known)
    window = visible_window(
        tokenizer, known[:n_system], known[n_system:], block_size=block_size, answer=answer
    )
    return {
        **running_text(vocabulary, window.ids),
        "messages": [*known[:n_system], *known[n_system + window.n_dropped :]],
        "unknown": "".join(dict.fromkeys("".join(unknown for _, unknown in kept))),
        "n_dropped": window.n_dropped,
    }


async def about(request: Request) -> Response:
    """Answer with a model's sizes, its tokenizer's fingerprint, and what it was taught. Body: model; maybe checkpoint."""
    body = read(await read_json_object(request), MODEL, ("model",))
    served = await serve(request, body)
    config = served.model.config
    return JSONResponse(
        {
            "n_layer": config.n_layer,
            "n_head": config.n_head,
            "block_size": config.block_size,
            "vocab_size": served.tokenizer.vocab_size,
            "unit": served.tokenizer.unit,
            "special": served.tokenizer.special_ids,
            "tokenizer": await run_in_threadpool(fingerprint, served.tokenizer),
            "taught": await run_in_threadpool(lessons, served.entry.path),
        }
    )


def fingerprint(tokenizer: Tokenizer) -> str:
    """Return what tells tokenizers with other tokens apart: ids of one mean the same to all with its fingerprint."""
    tokens = [tokenizer.decode([token]) for token in range(tokenizer.vocab_size)]
    return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()[:16]


def lessons(run: Path) -> dict[str, Any] | None:
    """Return the names of the requests that a model was taught, with examples; None where it was taught none."""
    if not taught.follows_instructions(run):
        return None
    return {"skills": list(SKILLS), "examples": taught.example_requests(run)}


async def remark(request: Request) -> Response:
    """Answer with what the checker says of the last message, an answer. Body: model, messages.

    `met` is null where the request is of no known kind, and all is where the model was taught no requests.
    """
    body = read(await read_json_object(request), REMARK, ("model", "messages"))
    served = await serve(request, body)
    *before, asked, answer = ["", "", *(each["content"] for each in body["messages"])]
    if not await run_in_threadpool(taught.follows_instructions, served.entry.path):
        return JSONResponse({"remark": None, "met": None})
    found = recognized(asked, before[-1])
    return JSONResponse(
        {
            "remark": taught.remark(asked, answer, before[-1]),
            "met": found and found[0].met(found[1], answer),
        }
    )


async def serve(request: Request, body: dict[str, Any]) -> Served:
    """Return the loaded model that a request is about. Raises ApiError where there is none of that name."""
    models: Models = request.app.state.models
    return await models.get(body["model"], body.get("checkpoint"))
