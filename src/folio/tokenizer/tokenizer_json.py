"""`tokenizer.json`, the file of the `tokenizers` library: read it, and tell which ones folio can take.

The library takes many kinds of tokenizers. folio takes byte-level BPE that gives back every text as it was; what the file
says of another kind is refused by name, before the library sees it, which at some damage does not raise but panics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tokenizers

from folio.errors import UserError
from folio.files import read_json

FILE = "tokenizer.json"
ADVICE = "Copy it again, or save the model again."
LIKE = "folio reads byte-level BPE tokenizers, like those of GPT-2, Llama 3 and Qwen"

PARTS: Mapping[str, tuple[str, ...]] = {
    "normalizer": ("NFC",),
    "pre_tokenizer": ("ByteLevel", "Split", "Digits", "Punctuation", "UnicodeScripts"),
    "decoder": ("ByteLevel", "Fuse"),
    "post_processor": ("ByteLevel", "TemplateProcessing"),
}
"""The kinds of each part that folio takes, alone or in a Sequence. All keep text as it is but NFC, which chooses one of
several ways to write the same character (`BPETokenizer.encode` tells)."""
LISTS = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "decoder": "decoders",
    "post_processor": "processors",
}
"""Where a Sequence keeps its members."""
LARGEST_ID = 2**24
"""No vocabulary is near it; larger ids are damage, and would not fit into memory as rows of an embedding."""
SAMPLES = (
    "The cat sat, didn't it? THE END...",
    "  two  spaces\n\n\tand a tab\r\n ",
    "1234567 3.14 x_1=[y];",
    "na\u00efve \u00dcn\u00efcode \ufb01 \u00bd \u6771\u4eac \ud55c\uad6d\uc5b4 \u0417\u0434\u0440\u0430 \U0001f600\U0001f469\u200d\U0001f680\u2028\x00",
)
"""Texts that a tokenizer must give back: words, case, spaces, numbers, scripts."""


def read_content(path: Path) -> dict[str, Any]:
    """Return the content of a `tokenizer.json`. Raises UserError where it is missing, damaged or something else."""
    content = read_json(path, ADVICE)
    if not isinstance(content.get("model"), dict):
        raise UserError(f"{path} is no tokenizer: it has no model. {ADVICE}")
    return content


def model_kind(content: Mapping[str, Any]) -> str:
    """Return the kind of a tokenizer, such as "BPE"."""
    model = content["model"]
    return str(model.get("type") or ("BPE" if "merges" in model else None))  # GPT-2's file predates the entry


def check_parts(path: Path, content: Mapping[str, Any]) -> None:
    """Raise UserError where a byte-level BPE tokenizer has parts that change text, or that folio does not know."""
    for name, kinds in PARTS.items():
        for part in _members(content.get(name), LISTS[name]):
            kind = part.get("type") if isinstance(part, dict) else part
            if kind not in kinds:
                raise UserError(
                    f"{path} has a {name} of kind {kind}: {LIKE}, which have {' or '.join(kinds)} there."
                )
            if part.get("behavior") in ("Removed", "removed"):
                raise UserError(f"{path} has a {name} that removes text: {LIKE}, which keep it.")
    for template in _members(content.get("post_processor"), LISTS["post_processor"]):
        if not _is_whole(template):
            raise UserError(f"{path} has a post_processor with tokens that it does not define. {ADVICE}")
    used = [part["type"] for part in _members(content.get("decoder"), LISTS["decoder"])]
    if model_kind(content) != "BPE" or "ByteLevel" not in used:
        raise UserError(
            f"{path} holds a tokenizer that is not byte-level, like those of the first Llamas: {LIKE}."
        )
    model = content["model"]
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(setting):
            raise UserError(f"{path} has a model with {setting} {model[setting]!r}: {LIKE}, which have none.")
    if len(set(model["vocab"].values())) < len(model["vocab"]):
        raise UserError(f"{path} has two tokens with the same id. {ADVICE}")


def check_texts(path: Path, library: tokenizers.Tokenizer) -> None:
    """Raise UserError unless the library gives back texts as they were, and no special token for any."""
    library.encode_special_tokens = True
    added = library.get_added_tokens_decoder()
    special = {i for i, token in added.items() if token.special}
    samples = (
        *SAMPLES,
        _all_bytes(),
        *(f"a {token.content} b" for token in added.values()),
    )
    for sample in samples:
        ids = library.encode(sample, add_special_tokens=False).ids
        back = library.decode(ids, skip_special_tokens=False)
        if back != sample:
            at = next((i for i, (x, y) in enumerate(zip(sample, back, strict=False)) if x != y), 0)
            before, after = (repr(text[max(0, at - 10) : at + 20]) for text in (sample, back))
            raise UserError(f"{path} changes text: {before} comes back as {after}. {LIKE}, which keep it.")
        if special & set(ids):
            raise UserError(
                f"{path} makes special tokens of the text {sample!r}: {LIKE}, where nobody can type one."
            )
    largest = max(library.get_vocab(with_added_tokens=True).values())
    if largest >= LARGEST_ID:
        raise UserError(f"{path} has a token with the id {largest}: folio reads ids below {LARGEST_ID:,}.")
    if max(library.encode("", add_special_tokens=True).ids, default=0) > largest:
        raise UserError(f"{path} begins a text with a token that it does not have. {ADVICE}")


def _is_whole(template: Mapping[str, Any]) -> bool:
    """Return whether a TemplateProcessing defines all tokens that it adds: at one that it does not, the library panics."""
    pieces = [*(template.get("single") or ()), *(template.get("pair") or ())]
    named = {piece["SpecialToken"]["id"] for piece in pieces if "SpecialToken" in piece}
    return named <= (template.get("special_tokens") or {}).keys()


def _members(part: Any, key: str) -> Iterator[Any]:
    """Yield a part, or those of which it is a sequence."""
    if isinstance(part, dict) and part.get("type") == "Sequence":
        members = part.get(key)
        for member in members if isinstance(members, list) else [members]:
            yield from _members(member, key)
    elif part is not None:
        yield part


def _all_bytes() -> str:
    """Return a text with every byte that UTF-8 has, in characters that NFC keeps."""
    one = [chr(i) for i in range(0x80)]
    two = [chr((i << 6) + 0x30) for i in range(2, 32)]
    three = ["\u0900", *(chr((i << 12) + 0x100) for i in range(1, 16))]
    four = ["\U00010000", *(chr(i << 18) for i in range(1, 5))]
    continuing = [chr(0x400 + i) for i in range(64)]
    return " ".join((*one, *two, *three, *four, *continuing))
