"""Conversations as clients send them -> the ids that the model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from folio.server.body import kind_of
from folio.server.errors import ApiError
from folio.server.fields import Field
from folio.server.models import Served
from folio.server.text import encoded
from folio.tokenizer.chat_template import Message, turns
from folio.tokenizer.special_tokens import has_chat_tokens

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""Roles that clients may name, and what the chat template calls them."""
TEXT_PARTS = ("text", "input_text", "output_text")
EMPTY: Sequence[object] = (None, [], {})
WITHOUT_EFFECT = (
    "name",
    "id",
    "type",
    "status",
    "phase",
    "annotations",
    "logprobs",
    "prompt_cache_breakpoint",
)
"""What messages and their parts may have besides: it changes nothing. Clients send back what they were sent."""
MESSAGES = Field(
    schema={
        "type": "array",
        "minItems": 1,
        "maxItems": 2048,
        "items": {
            "type": "object",
            "properties": {
                "role": {"enum": list(ROLES)},
                "content": {
                    "anyOf": [
                        {"type": "string"},
                        {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "properties": {"type": {"enum": ["text"]}, "text": {"type": "string"}},
                                "required": ["type", "text"],
                            },
                        },
                    ]
                },
            },
            "required": ["role", "content"],
        },
    },
    use="the conversation: system or developer first, user, assistant; content is text, or parts of type text. Where the "
    "assistant's is last, it is continued",
    is_required=True,
)


def read_messages(items: Sequence[Any], where: str = "messages") -> list[Message]:
    """Return the messages of a request. Raises ApiError, which names the place, for what is no text or has no place."""
    messages = [read_message(each, f"{where}[{n}]") for n, each in enumerate(items)]
    for n, message in enumerate(messages):
        if n and message["role"] == "system":
            raise ApiError(
                400,
                f"{where}[{n}].role is system: only the first message can be the system's.",
                f"{where}[{n}].role",
            )
    return messages


def read_message(item: Any, where: str) -> Message:
    """Return one message."""
    if not isinstance(item, Mapping):
        raise ApiError(400, f"{where} must be an object, not {kind_of(item)}.", where)
    if item.get("type", "message") != "message":
        raise ApiError(
            400,
            f"{where}.type is {item['type']!r}: only messages are supported."[:200],
            f"{where}.type",
            "unsupported_parameter",
        )
    given = item.get("role")
    role = ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise ApiError(
            400, f"{where}.role is {given!r}: it must be {', '.join(ROLES)}."[:200], f"{where}.role"
        )
    check_rest(item, ("role", "content"), where)
    if item.get("content") is None and role == "assistant":
        return {"role": role, "content": ""}
    return {"role": role, "content": read_content(item.get("content"), f"{where}.content")}


def read_content(content: Any, where: str) -> str:
    """Return the text of a message: a string, or the texts of its parts, joined."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ApiError(400, f"{where} must be a string or an array of parts, not {kind_of(content)}.", where)
    return "".join(read_part(part, f"{where}[{n}]") for n, part in enumerate(content))


def read_part(part: Any, where: str) -> str:
    """Return the text of a part."""
    if not isinstance(part, Mapping):
        raise ApiError(400, f"{where} must be an object, not {kind_of(part)}.", where)
    if part.get("type") not in TEXT_PARTS:
        raise ApiError(
            400,
            f"{where}.type is {part.get('type')!r}: these models read text only."[:200],
            f"{where}.type",
            "unsupported_parameter",
        )
    check_rest(part, ("type", "text"), where)
    if not isinstance(part.get("text"), str):
        raise ApiError(
            400, f"{where}.text must be a string, not {kind_of(part.get('text'))}.", f"{where}.text"
        )
    return str(part["text"])


def check_rest(item: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raise ApiError for a key that has a meaning here, or none that is known, unless it is empty."""
    for key, value in item.items():
        if key not in known and key not in WITHOUT_EFFECT and value not in EMPTY:
            place = f"{where}.{key[:80]}"
            raise ApiError(400, f"{place} is not supported.", place, "unsupported_parameter")


async def conversation_ids(
    served: Served, messages: Sequence[Message], continues: bool | None, places: Sequence[str] | None = None
) -> list[int]:
    """Return the ids of a conversation, up to where the model is to write.

    continues: whether it goes on with the last message, which must be the assistant's; None: where it is the assistant's.
    places: the field of each message's text, where it is not messages.
    Raises ApiError where the model does not chat, and where a character is unknown to it.
    """
    check_chat(served)
    is_answer = messages[-1]["role"] == "assistant"
    if continues and not is_answer:
        raise ApiError(
            400,
            "continue_final_message goes on with an answer, and the last message is none.",
            "continue_final_message",
        )
    special = served.tokenizer.special_ids
    ids = [special["<|bos|>"]]
    for n, message in enumerate(messages):
        where = places[n] if places else f"messages[{n}].content"
        ids += await encoded(partial(turn, served, message["role"]), message["content"], where)
    if is_answer and continues is not False:
        return ids[:-1]  # without the <|end|> of the last turn
    return [*ids, special["<|assistant|>"]]


def turn(served: Served, role: str, content: str) -> list[int]:
    """Return the ids of a turn."""
    ((ids, _),) = turns(served.tokenizer, [{"role": role, "content": content}])
    return [int(id) for id in ids]


def check_chat(served: Served) -> None:
    """Raise ApiError where a model continues texts and does not answer."""
    if served.entry.kind != "chat" or not has_chat_tokens(served.tokenizer.special_ids):
        raise ApiError(
            400,
            f"{served.name} continues texts, and has not learned to answer: use /v1/completions, or teach it with "
            "`folio sft`.",
            "model",
            "unsupported_model",
        )
