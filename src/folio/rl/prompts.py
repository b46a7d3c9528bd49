"""Prompts as a policy reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from folio.errors import UserError
from folio.rl.rollouts import Prompt
from folio.tokenizer.chat_template import Message, prompt_ids
from folio.tokenizer.protocol import Tokenizer


def encode_prompts(
    prompts: Sequence[str | Sequence[Message]], tokenizer: Tokenizer, max_tokens: int
) -> tuple[list[Prompt], int]:
    """Return prompts as ids, without those longer than `max_tokens`, and how many those were.

    prompts: each a text, or a conversation up to the user's last turn. Raises UserError for a character that the
    tokenizer does not know, and where no prompt is left.
    """
    encoded = [_encode(prompt, tokenizer) for prompt in prompts]
    kept = [prompt for prompt in encoded if len(prompt.ids) <= max_tokens]
    if not kept:
        raise UserError(
            f"none of {len(encoded)} prompts leaves room for an answer in the model's context: "
            f"{max(max_tokens, 0)} tokens are left for it. Make max_new_tokens smaller."
        )
    return kept, len(encoded) - len(kept)


def _encode(prompt: str | Sequence[Message], tokenizer: Tokenizer) -> Prompt:
    messages: Sequence[Mapping[str, str]]
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    text = messages[-1]["content"]
    try:
        return Prompt(text, prompt_ids(tokenizer, messages))
    except UserError as error:
        raise UserError(f"the prompt {text[:60]!r}: {error}") from None
