"""/tokenize and /detokenize: what the model reads of a text, and back."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from folio.server.body import read_json_object
from folio.server.completions import IDS, read_prompt
from folio.server.errors import ApiError
from folio.server.fields import Field, Fields, flag, read_fields
from folio.server.messages import MESSAGES, conversation_ids, read_messages
from folio.server.models import Served
from folio.server.shared_fields import MODEL, json_response
from folio.server.text import decoded

TOKENIZE: Fields = {
    **MODEL,
    "prompt": Field(schema={"type": "string"}, use="a text, as /v1/completions would read it"),
    "messages": Field(schema=MESSAGES.schema, use="a conversation, as /v1/chat/completions would read it"),
    "continue_final_message": flag("as there"),
}
DETOKENIZE: Fields = {
    **MODEL,
    "tokens": Field(schema={**IDS, "minItems": 0}, use="ids", is_required=True),
}


async def tokenize(request: Request) -> Response:
    """Answer with the ids of a text or a conversation, the text of each, and how many the model reads."""
    values = read_fields(await read_json_object(request), TOKENIZE)
    served: Served = await request.app.state.models.get(values.get("model"))
    if ("prompt" in values.given) == ("messages" in values.given):
        raise ApiError(400, "Give either prompt or messages.", "prompt")
    if "messages" in values.given:
        messages = read_messages(values.get("messages"))
        ids = await conversation_ids(served, messages, values.get("continue_final_message"))
    elif "continue_final_message" in values.given:
        raise ApiError(400, "continue_final_message is only for messages.", "continue_final_message")
    else:
        ids = await read_prompt(values.get("prompt"), served, "prompt")
    return json_response(
        {
            "tokens": ids,
            "pieces": [served.vocabulary.name(id) for id in ids],
            "count": len(ids),
            "max_model_len": served.model.config.block_size,
        }
    )


async def detokenize(request: Request) -> Response:
    """Answer with the text of ids, special tokens by name."""
    values = read_fields(await read_json_object(request), DETOKENIZE)
    served: Served = await request.app.state.models.get(values.get("model"))
    ids = values.get("tokens")
    if ids and max(ids) >= len(served.vocabulary.bytes):
        raise ApiError(400, f"tokens has the id {max(ids)}, which {served.name} lacks.", "tokens")
    text, _ = decoded(served.vocabulary, ids)
    return json_response({"prompt": text})
