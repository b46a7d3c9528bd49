"""Text in, text out: the functions of the public package that generate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from folio.errors import UserError
from folio.inference.engine import Engine
from folio.inference.generation import GenerationConfig
from folio.inference.sampling import SamplingConfig
from folio.inference.text import stream_text
from folio.model.gpt import GPT
from folio.objectives.logprobs import token_logprobs
from folio.tokenizer.chat_template import check_messages, prompt_ids
from folio.tokenizer.protocol import Tokenizer
from folio.tokenizer.special_tokens import SPECIAL_TOKENS

Ids = Sequence[int] | NDArray[np.integer] | Tensor


@overload
def generate(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_new_tokens: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int = 0,
    stop: str | Sequence[str] = (),
) -> str: ...


@overload
def generate(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: list[str],
    *,
    max_new_tokens: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int = 0,
    stop: str | Sequence[str] = (),
) -> list[str]: ...


def generate(  # noqa: PLR0913  # a caller names what differs from the defaults
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str | list[str],
    *,
    max_new_tokens: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int = 0,
    stop: str | Sequence[str] = (),
) -> str | list[str]:
    """Continue a text, or several at once.

    Args:
        model: in evaluation or training mode; dropout is off while it generates.
        prompt: a text, or a list of texts, which are continued together.
        max_new_tokens: most tokens of a continuation.
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_k, top_p: sample from the k likeliest tokens, or from the fewest that have this probability together.
        seed: the same seed gives the same text.
        stop: a continuation ends before this text, or any of these, or with the model's end-of-text token.

    Returns:
        The continuation without the prompt, or a list of continuations.

    Raises:
        UserError: for a character that the tokenizer does not know, or a setting out of range.
    """
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        sampling=SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p),
        seed=seed,
        stop_ids=tuple(tokenizer.end_ids),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
    )
    ids = [tokenizer.prompt(each) for each in prompts]
    texts = [""] * len(prompts)
    for pieces in stream_text(Engine(model), tokenizer, ids, config):
        texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
    return texts[0] if isinstance(prompt, str) else texts


def stream(  # noqa: PLR0913  # as in `generate`
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_new_tokens: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int = 0,
    stop: str | Sequence[str] = (),
) -> Iterator[str]:
    """Continue a text, yielding it in pieces as they become readable. Arguments and errors are those of `generate`."""
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        sampling=SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p),
        seed=seed,
        stop_ids=tuple(tokenizer.end_ids),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
    )
    steps = stream_text(Engine(model), tokenizer, [tokenizer.prompt(prompt)], config)
    return (piece for (piece,) in steps if piece)


def chat(  # as in `generate`
    model: GPT,
    tokenizer: Tokenizer,
    messages: str | Sequence[Mapping[str, str]],
    *,
    max_new_tokens: int = 200,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int = 0,
) -> str:
    """Answer a conversation.

    Args:
        messages: a question, or a conversation `[{"role": "user", "content": ...}, ...]` up to the user's last turn.

    Returns:
        The assistant's answer. The other arguments are those of `generate`.

    Raises:
        UserError: where the tokenizer lacks the tokens of conversations, messages are out of order, the conversation
            leaves no room for an answer, or a character is unknown.
    """
    if not tokenizer.special_ids.keys() >= set(SPECIAL_TOKENS):
        raise UserError(
            "the model has no chat tokens: folio.add_chat_tokens adds them, folio.sft teaches it to use them."
        )
    turns = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    check_messages(turns)
    if turns[-1]["role"] != "user":
        raise UserError("the last turn is the assistant's: there is nothing to answer.")
    ids = prompt_ids(tokenizer, turns)
    room = model.config.block_size - len(ids)
    if room < 1:
        raise UserError(
            f"the conversation has {len(ids)} tokens, and the model reads {model.config.block_size}: leave out old turns."
        )
    config = GenerationConfig(
        max_new_tokens=min(max_new_tokens, room),
        sampling=SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p),
        seed=seed,
        stop_ids=(tokenizer.special_ids["<|end|>"],),
    )
    steps = stream_text(Engine(model), tokenizer, [ids], config)
    return "".join(piece for (piece,) in steps)


@torch.inference_mode()
def logprobs(model: GPT, ids: Ids) -> Tensor:
    """Return ln p of each token but the first, given those before it.

    Args:
        model: in evaluation mode, or its dropout acts.
        ids: (n) token ids, 2 <= n <= block_size: a list, an array or a tensor.

    Returns:
        (n - 1) float32 on the CPU, in nats.

    Raises:
        UserError: for fewer than two tokens, more than the model reads at once, or an id that it does not have.
    """
    read = torch.as_tensor(ids, dtype=torch.int64, device=model.embedding.weight.device)
    if not 2 <= len(read) <= model.config.block_size:
        raise UserError(
            f"there are {len(read)} tokens: logprobs takes 2 to {model.config.block_size}, the model's context."
        )
    if read.min() < 0 or read.max() >= model.config.vocab_size:
        raise UserError(
            f"the ids range from {read.min()} to {read.max()}: the model has 0 to {model.config.vocab_size - 1}."
        )
    return token_logprobs(model(read[None, :-1]), read[None, 1:])[0].cpu()
