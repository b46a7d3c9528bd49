"""Byte-level BPE: tokens are frequent pieces of words, down to single bytes, so that every text can be encoded.

BPE merges the most frequent pairs (Sennrich et al., 2016), here of bytes instead of characters (Radford et al., 2019).
The `tokenizers` library trains and applies the merges.
"""

from __future__ import annotations

import json
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from folio.activity import interruptible
from folio.errors import FolioWarning, UserError, parsing
from folio.files import read_json, write_file
from folio.tokenizer.chat_template import save_template
from folio.tokenizer.special_tokens import (
    SETTINGS,
    SPECIAL_TOKENS,
    STANDARD_NAMES,
    has_chat_tokens,
    save_settings,
)
from folio.tokenizer.tokenizer_json import ADVICE, FILE, check_parts, check_texts, model_kind, read_content

PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
"""Files of GPT-2's vocabulary and merges, as once named by Hugging Face and by OpenAI."""
GPT2_END = "<|endoftext|>"
LONG_WORD = re.compile(r"\S{1001}")
WORD_PART = re.compile(r"\s*\S{1,1000}|\s+")
LONGEST_DIGITS = 3


@dataclass(frozen=True)
class Split:
    """How a text is split before pairs are merged: as in GPT-2, with bounds on what a token can grow to.

    digits:       most digits in a token, from 1 to 3; None for GPT-2's way, in which a number of any length, with the space
                  before it, can become a token. Otherwise the space stays apart, as in GPT-4 and Llama 3, so that a number
                  has the same tokens wherever it stands.
    longest_word: most letters, or other signs, in a token; None for no bound.
    """

    digits: int | None = None
    longest_word: int | None = None

    def __post_init__(self) -> None:
        if self.digits is not None and not 1 <= self.digits <= LONGEST_DIGITS:
            raise UserError(f"digits is {self.digits}: it must be from 1 to {LONGEST_DIGITS}.")
        if self.longest_word is not None and self.longest_word < 1:
            raise UserError(f"longest_word is {self.longest_word}: it must be at least 1.")

    def pre_tokenizer(self) -> pre_tokenizers.PreTokenizer:
        """Return what splits so, for the library."""
        if self.digits is None and self.longest_word is None:
            return pre_tokenizers.ByteLevel(add_prefix_space=False)
        signs = "+" if self.longest_word is None else f"{{1,{self.longest_word}}}"
        numbers = r" ?\p{N}+" if self.digits is None else rf"\p{{N}}{{1,{self.digits}}}"
        pattern = (
            rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}{signs}|{numbers}| ?[^\s\p{{L}}\p{{N}}]{signs}|\s+(?!\S)|\s+"
        )
        return pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )


GPT2_SPLIT = Split()


@dataclass(frozen=True)
class BPETokenizer:
    """A byte-level BPE tokenizer. Tokenizers with the same content are equal.

    content:  the text of a `tokenizer.json`, as the library writes it.
    bos, eos: the names of the special tokens that begin and end a text, if there are any.
    """

    content: str = field(repr=False)
    bos: str | None = None
    eos: str | None = None

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, split: Split = GPT2_SPLIT) -> BPETokenizer:
        """Train a tokenizer of vocab_size tokens, chat tokens included; of fewer where the texts have no more pairs.

        Texts are split before merging, by default as in GPT-2: a word takes the space before it. Words of more than 1,000 characters
        are learned from in parts, as the time for one grows with the square of its length. Raises UserError where vocab_size is
        too small for the bytes and the chat tokens.
        """
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        smallest = len(alphabet) + len(SPECIAL_TOKENS)
        if vocab_size < smallest:
            raise UserError(f"vocab_size is {vocab_size}: bytes and special tokens alone need {smallest}.")
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - len(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False
        )
        library = _byte_level(models.BPE())
        library.pre_tokenizer = split.pre_tokenizer()
        short = (part for text in texts for part in _without_long_words(text))
        interruptible(lambda: library.train_from_iterator(short, trainer))
        return cls(library.to_str()).with_chat_tokens()

    @property
    def unit(self) -> str:
        return "token"

    @cached_property
    def _library(self) -> tokenizers.Tokenizer:
        return tokenizers.Tokenizer.from_str(self.content)

    @cached_property
    def vocab_size(self) -> int:
        """Highest id plus one (V)."""
        return max(self._library.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """The id of each special token, by name."""
        return _special_ids(self._library)

    @property
    def end_ids(self) -> list[int]:
        return [self.special_ids[self.eos]] if self.eos else []

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the ids of a text, with nothing added: (n) int32.

        Text never becomes a special token: "<|end|>" gives the ids of its pieces, so nobody can end a turn by typing.
        (The saved tokenizer.json, read with `transformers`, does make it the special token.)

        Raises UserError for a code point that UTF-8 cannot hold. Warns with FolioWarning, once, where the tokenizer writes
        characters in another of Unicode's equivalent forms, as Qwen's do.
        """
        return np.array(self._ids(text, add_special_tokens=False), dtype=np.int32)

    def prompt(self, text: str) -> list[int]:
        """Return the ids of a text after the tokens that the model expects before it, as Llama 3 does; else bos or eos.

        Raises UserError for an empty text where the tokenizer has neither.
        """
        ids, opening = self._ids(text, add_special_tokens=True), self.bos or self.eos
        if ids:
            return ids
        if opening is None:
            raise UserError("the model has no token to begin a text with: give a prompt.")
        return [self.special_ids[opening]]

    def _ids(self, text: str, add_special_tokens: bool) -> list[int]:
        # The library saves this neither in the file nor in copies.
        self._library.encode_special_tokens = True
        try:
            text.encode()
        except UnicodeEncodeError as error:
            line = text.count("\n", 0, error.start) + 1
            raise UserError(
                f"The tokenizer does not know {text[error.start]!r} (character {error.start + 1}, line {line}), "
                "which is half a character: remove it."
            ) from None
        if self._library.normalizer is not None and not unicodedata.is_normalized("NFC", text):
            _ = self._warning_of_composition
        # The fast form leaves out where in the text each token stands: half as fast again.
        return self._library.encode_batch_fast([text], add_special_tokens=add_special_tokens)[0].ids

    @cached_property
    def _warning_of_composition(self) -> None:
        """Warn of the only change of a text that `load` lets through; cached, so that it is said once."""
        warnings.warn(
            "the tokenizer writes accented characters in composed form (Unicode NFC), as its model has learned them; "
            "some of this text were in another form.",
            FolioWarning,
            stacklevel=4,
        )

    def drop_unknown(self, text: str) -> tuple[str, str]:
        """Return the text without lone surrogates, which a terminal may send, and those: for text that a user types."""
        known = text.encode(errors="ignore").decode()
        return known, "".join(dict.fromkeys(c for c in text if "\ud800" <= c <= "\udfff"))

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, special tokens by name. An id without a token, as in a padded embedding, adds nothing."""
        known = [i for i in map(int, ids) if 0 <= i < self.vocab_size]
        return self._library.decode(known, skip_special_tokens=False)

    def with_chat_tokens(self) -> BPETokenizer:
        """Return this tokenizer with all tokens of the chat template; missing ones get the next ids.

        The result adds nothing before a text: the template places `<|bos|>`.
        """
        library = tokenizers.Tokenizer.from_str(self.content)
        library.add_special_tokens(
            [AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS]
        )
        library.post_processor = None
        return replace(self, content=library.to_str(), bos=STANDARD_NAMES["bos"], eos=STANDARD_NAMES["eos"])

    def save(self, directory: Path, block_size: int | None = None) -> None:
        """Write `tokenizer.json`, its settings and, where all its tokens are there, the chat template.

        block_size: the model's context, written as `model_max_length`.
        """
        write_file(directory / FILE, self.content.encode())
        is_for_chat = has_chat_tokens(self.special_ids)
        pad = STANDARD_NAMES["pad"] if is_for_chat else None
        names = {"bos": self.bos, "eos": self.eos, "pad": pad}
        save_settings(directory, {name: token for name, token in names.items() if token}, block_size)
        if is_for_chat:
            save_template(directory)

    @classmethod
    def load(cls, directory: Path) -> BPETokenizer:
        """Load the tokenizer of a model directory: `tokenizer.json`, or GPT-2's vocabulary and merges.

        Raises UserError where the files are missing, damaged, or hold another kind of tokenizer.
        """
        pair = old_pair(directory)
        library = _read_pair(*pair) if pair else _read(directory / FILE)
        own = {name: _own_token(directory, library, name) for name in ("bos", "eos")}
        return cls(library.to_str(), **own)


def old_pair(directory: Path) -> tuple[Path, Path] | None:
    """Return the two files that preceded `tokenizer.json`, or None where that exists or they do not."""
    if (directory / FILE).exists():
        return None
    found = ((directory / vocab, directory / merges) for vocab, merges in PAIRS)
    return next(((vocab, merges) for vocab, merges in found if vocab.exists() and merges.exists()), None)


def _byte_level(model: models.BPE) -> tokenizers.Tokenizer:
    """Return a tokenizer that splits texts as GPT-2 does, then applies the model."""
    library = tokenizers.Tokenizer(model)
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    return library


def _read(path: Path) -> tokenizers.Tokenizer:
    content = read_content(path)
    if (kind := model_kind(content)) != "BPE":
        raise UserError(f"{path} holds a tokenizer of kind {kind}, not BPE: load it as that kind.")
    # Some files keep the settings of their last user.
    plain = {key: value for key, value in content.items() if key not in ("truncation", "padding")}
    with parsing(path, ADVICE):
        check_parts(path, content)
        library = tokenizers.Tokenizer.from_str(json.dumps(plain))
        check_texts(path, library)
    return library


def _read_pair(vocab: Path, merges: Path) -> tokenizers.Tokenizer:
    with parsing(vocab, f"The file or {merges.name} beside it is damaged. {ADVICE}"):
        library = _byte_level(models.BPE.from_file(str(vocab), str(merges)))
    if library.token_to_id(GPT2_END) is None:  # others split texts in ways that neither file tells
        raise UserError(
            f"{vocab} is not GPT-2's: it has no {GPT2_END}. Load the tokenizer with transformers and save_pretrained."
        )
    library.add_special_tokens([AddedToken(GPT2_END, normalized=False, special=True)])
    with parsing(vocab, ADVICE):
        check_texts(vocab, library)
    return library


def _special_ids(library: tokenizers.Tokenizer) -> dict[str, int]:
    added = library.get_added_tokens_decoder()
    return {added[i].content: i for i in sorted(added) if added[i].special}


def _own_token(directory: Path, library: tokenizers.Tokenizer, name: str) -> str | None:
    """Return the special token that begins ("bos") or ends ("eos") a text, from whichever file names it."""
    special = _special_ids(library)
    told = _settings(directory / SETTINGS).get(f"{name}_token")
    told = told.get("content") if isinstance(told, dict) else told
    if not isinstance(told, str | None):
        raise UserError(f"{directory / SETTINGS}: {name}_token is {told!r}: it must be the name of a token.")
    ids = _settings(directory / "config.json").get(f"{name}_token_id")
    ids = ids if isinstance(ids, list) else [ids]
    candidates = [told, *(token for token, i in special.items() if i in ids)]
    candidates += [GPT2_END] if old_pair(directory) else []
    return next((token for token in candidates if token in special), None)


def _settings(path: Path) -> dict[str, Any]:
    """Return a file's settings, or {} where there is none: they are optional."""
    return read_json(path, ADVICE) if path.exists() else {}


def _without_long_words(text: str) -> Iterator[str]:
    """Yield a text whole, or word by word where a word is long, such as DNA."""
    if LONG_WORD.search(text):
        yield from (match[0] for match in WORD_PART.finditer(text))
    else:
        yield text
