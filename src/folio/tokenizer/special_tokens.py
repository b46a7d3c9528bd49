"""The special tokens of a conversation, and the file that tells others which begins and which ends a text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

SPECIAL_TOKENS = ("<|bos|>", "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>")
"""What a conversation needs beside text."""
STANDARD_NAMES = {"bos": "<|bos|>", "eos": "<|end|>", "pad": "<|pad|>"}
"""Some of them by the names that `transformers` has for what they do."""
SETTINGS = "tokenizer_config.json"


def save_settings(directory: Path, names: Mapping[str, str]) -> None:
    """Write `tokenizer_config.json`. names: tokens by what they do, as in STANDARD_NAMES.

    The class is the one that takes `tokenizer.json` as it is; those named after models build parts of their own.
    """
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{name}_token": token for name, token in names.items()},
        "clean_up_tokenization_spaces": False,
    }
    (directory / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
