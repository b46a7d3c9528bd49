"""Prompts as a policy reads them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from folio.data.prompts import PromptMessages, parse_prompt
from folio.errors import FolioWarning, UserError
from folio.rl.rollouts import Prompt
from folio.tokenizer.chat_template import Message, check_messages, prompt_ids
from folio.tokenizer.protocol import Tokenizer

PromptRow = str | Sequence[Message] | Mapping[str, Any]
"""A question, a conversation up to the user's last turn, or a row of data with one of these as `prompt`."""


def encode_prompts(prompts: Sequence[PromptRow], tokenizer: Tokenizer, max_tokens: int) -> list[Prompt]:
    """Return prompts as ids, without those longer than `max_tokens`, of which it warns with FolioWarning.

    Raises UserError for what is no prompt, for a character that the tokenizer does not know, and where no prompt is
    left.
    """
    if isinstance(prompts, str):
        raise UserError(f"prompts is the text {prompts[:60]!r}: it must be a list, also of one.")
    if not prompts:
        raise UserError("prompts is empty: there is nothing to answer.")
    encoded = [_encode(prompt, tokenizer, f"prompt {n}") for n, prompt in enumerate(prompts, 1)]
    kept = [prompt for prompt in encoded if len(prompt.ids) <= max_tokens]
    if not kept:
        raise UserError(
            f"none of {len(encoded)} prompts leaves room for an answer in the model's context: "
            f"{max(max_tokens, 0)} tokens are left for it. Make max_new_tokens smaller."
        )
    if len(kept) < len(encoded):
        warnings.warn(
            f"{len(encoded) - len(kept):,} of {len(encoded):,} prompts are longer than {max_tokens} tokens and left out",
            FolioWarning,
            stacklevel=4,
        )
    return kept


def _encode(prompt: PromptRow, tokenizer: Tokenizer, where: str) -> Prompt:
    try:
        messages = _messages_of(prompt)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if messages[-1]["role"] != "user":
        raise UserError(f"{where} ends with the {messages[-1]['role']}'s turn: it must end with the user's.")
    text = messages[-1]["content"]
    try:
        return Prompt(text, prompt_ids(tokenizer, messages), messages.columns)
    except UserError as error:
        raise UserError(f"the prompt {text[:60]!r}: {error}") from None


def _messages_of(prompt: PromptRow) -> PromptMessages:
    if isinstance(prompt, PromptMessages):
        return prompt
    if isinstance(prompt, Mapping):
        return parse_prompt(prompt)
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    check_messages(messages)
    return PromptMessages(messages, {})
