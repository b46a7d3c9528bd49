"""The special tokens of a conversation, and the file that tells `transformers` what they do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from folio.files import write_file

SPECIAL_TOKENS = ("<|bos|>", "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>")
"""The tokens of the chat template, and padding."""
STANDARD_NAMES = {"bos": "<|bos|>", "eos": "<|end|>", "pad": "<|pad|>"}
"""Special tokens by their role in `transformers`."""
SETTINGS = "tokenizer_config.json"


def has_chat_tokens(special_ids: Mapping[str, int]) -> bool:
    """Return whether a tokenizer with these special tokens has all of the chat template."""
    return special_ids.keys() >= set(SPECIAL_TOKENS)


def save_settings(directory: Path, names: Mapping[str, str], block_size: int | None) -> None:
    """Write `tokenizer_config.json`. names: tokens by role, as in STANDARD_NAMES. block_size: see `Tokenizer.save`.

    Of the classes, PreTrainedTokenizerFast takes `tokenizer.json` as it is; those of models build parts of their own.
    """
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{name}_token": token for name, token in names.items()},
        "clean_up_tokenization_spaces": False,
    } | ({"model_max_length": block_size} if block_size else {})
    write_file(directory / SETTINGS, (json.dumps(settings, indent=2) + "\n").encode())
