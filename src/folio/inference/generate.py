"""Text in, text out: the functions of the public package that generate."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Unpack, overload

from folio.config import from_table
from folio.errors import FolioWarning, UserError
from folio.inference.chat import check_chat_tokens
from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.inference.sampling import SamplingConfig, SamplingKeywords
from folio.inference.text import stream_text
from folio.model.gpt import GPT
from folio.tokenizer.chat_template import check_messages, prompt_ids
from folio.tokenizer.protocol import Tokenizer


@overload
def generate(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_new_tokens: int = 200,
    seed: int = 0,
    stop: str | Sequence[str] = (),
    **sampling: Unpack[SamplingKeywords],
) -> str: ...


@overload
def generate(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: list[str],
    *,
    max_new_tokens: int = 200,
    seed: int = 0,
    stop: str | Sequence[str] = (),
    **sampling: Unpack[SamplingKeywords],
) -> list[str]: ...


def generate(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str | list[str],
    *,
    max_new_tokens: int = 200,
    seed: int = 0,
    stop: str | Sequence[str] = (),
    **sampling: Unpack[SamplingKeywords],
) -> str | list[str]:
    """Continue a text, or several at once.

    Args:
        model: in evaluation or training mode; dropout is off while it generates.
        prompt: a text, or a list of texts, which are continued together.
        max_new_tokens: most tokens of a continuation.
        seed: the same seed gives the same text.
        stop: a continuation ends before this text, or any of these, or with the model's end-of-text token.
        sampling: any setting of `SamplingConfig` by name: `temperature`, `top_k`, `top_p`, `min_p`,
            `repetition_penalty`.

    Returns:
        The continuation without the prompt, or a list of continuations. Of a prompt longer than the model's context the
        last tokens are read, with a warning.

    Raises:
        UserError: for a character that the tokenizer does not know, an unknown setting, or one out of range.
    """
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    config = _generation("generate", max_new_tokens, seed, tokenizer.end_ids, sampling)
    ids = [_read(each, model, tokenizer) for each in prompts]
    texts = [""] * len(prompts)
    for pieces in stream_text(Engine(model), tokenizer, ids, config, _strings(stop)):
        texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
    return texts[0] if isinstance(prompt, str) else texts


def stream(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_new_tokens: int = 200,
    seed: int = 0,
    stop: str | Sequence[str] = (),
    **sampling: Unpack[SamplingKeywords],
) -> Iterator[str]:
    """Continue a text, yielding it in pieces as they become readable. Arguments and errors are those of `generate`."""
    config = _generation("stream", max_new_tokens, seed, tokenizer.end_ids, sampling)
    steps = stream_text(Engine(model), tokenizer, [_read(prompt, model, tokenizer)], config, _strings(stop))
    return (piece for (piece,) in steps if piece)


def chat(
    model: GPT,
    tokenizer: Tokenizer,
    messages: str | Sequence[Mapping[str, str]],
    *,
    max_new_tokens: int = 200,
    seed: int = 0,
    stop: str | Sequence[str] = (),
    **sampling: Unpack[SamplingKeywords],
) -> str:
    """Answer a conversation. For one that goes on, turn after turn, see `ChatSession`.

    Args:
        messages: a question, or a conversation `[{"role": "user", "content": ...}, ...]` up to the user's last turn.

    Returns:
        The assistant's answer. The other arguments are those of `generate`, but `temperature` is 0.8 unless given.

    Raises:
        UserError: where the tokenizer lacks the tokens of conversations, messages are out of order, the conversation
            leaves no room for an answer, or a character is unknown.
    """
    check_chat_tokens(tokenizer)
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
    end = tokenizer.special_ids["<|end|>"]
    config = _generation("chat", min(max_new_tokens, room), seed, [end], {"temperature": 0.8, **sampling})
    steps = stream_text(Engine(model), tokenizer, [ids], config, _strings(stop))
    return "".join(piece for (piece,) in steps)


def _read(prompt: str, model: GPT, tokenizer: Tokenizer) -> list[int]:
    """Return the ids of a prompt. Warns where the model cannot read all of them at once."""
    ids, block_size = tokenizer.prompt(prompt), model.config.block_size
    if len(ids) > block_size:
        warnings.warn(
            f"the model reads {block_size:,} tokens at once: it does not see the first {len(ids) - block_size:,} of the "
            f"prompt's {len(ids):,}.",
            FolioWarning,
            stacklevel=3,
        )
    return ids


def _generation(
    where: str,
    max_new_tokens: int,
    seed: int,
    stop_ids: Sequence[int],
    sampling: SamplingKeywords,
) -> GenerationConfig:
    """Return the settings that a caller's keywords stand for. where: the function that was called."""
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        sampling=from_table(SamplingConfig, sampling, where),
        seed=seed,
        stop_ids=tuple(stop_ids),
    )


def _strings(stop: str | Sequence[str]) -> Sequence[str]:
    return [stop] if isinstance(stop, str) else stop
