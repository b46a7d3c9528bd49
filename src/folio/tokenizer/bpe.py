"""Byte-level BPE: tokens are pieces of words that are frequent, down to single bytes, so that every text has some.

Merges of the most frequent pairs (Sennrich et al., 2016) over bytes instead of characters (Radford et al., 2019). The
`tokenizers` library trains and applies them; here is what folio asks of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from folio.errors import UserError
from folio.tokenizer.chat_template import save_template
from folio.tokenizer.special_tokens import SETTINGS, SPECIAL_TOKENS, STANDARD_NAMES, save_settings

FILE = "tokenizer.json"
PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
"""GPT-2's vocabulary and merges, as Hugging Face and OpenAI once named them."""
GPT2_END = "<|endoftext|>"


@dataclass(frozen=True)
class BPETokenizer:
    """A byte-level BPE tokenizer. Two with the same content are equal.

    content:  the text of a `tokenizer.json`, as the library writes it.
    bos, eos: the special tokens at the beginning and at the end of a text, by name, if there are any.
    """

    content: str = field(repr=False)
    bos: str | None = None
    eos: str | None = None

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> BPETokenizer:
        """Learn merges until there are vocab_size tokens, those of conversations included; fewer where the texts have
        no more pairs. Pieces are cut before merging as GPT-2 does it: a word takes the space before it.

        Raises UserError where not even the bytes have room.
        """
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        smallest = len(alphabet) + len(SPECIAL_TOKENS)
        if vocab_size < smallest:
            raise UserError(f"vocab_size is {vocab_size}: bytes and special tokens alone need {smallest}.")
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - len(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False
        )
        library = _byte_level(models.BPE())
        library.train_from_iterator(texts, trainer)
        return cls(library.to_str()).with_chat_tokens()

    @property
    def unit(self) -> str:
        return "token"

    @cached_property
    def _library(self) -> tokenizers.Tokenizer:
        return tokenizers.Tokenizer.from_str(self.content)

    @cached_property
    def vocab_size(self) -> int:
        """The highest id and one (V)."""
        return max(self._library.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """The id of each special token, by name."""
        return _special_ids(self._library)

    @property
    def end_ids(self) -> list[int]:
        return [self.special_ids[self.eos]] if self.eos else []

    def encode(self, text: str) -> NDArray[np.int32]:
        """The ids of a text, with nothing added: (n) int32.

        Text never turns into special tokens: "<|end|>" gives the ids of its pieces, so nobody can end a turn by typing.
        (The saved tokenizer.json, read with `transformers`, does turn it into the special token.)

        Raises UserError at the first code point that UTF-8 cannot hold.
        """
        return np.array(self._ids(text, add_special_tokens=False), dtype=np.int32)

    def prompt(self, text: str) -> list[int]:
        """The ids of a text with what the model expects before it, as Llama 3 does; bos or eos if that is nothing.

        Raises UserError for an empty text where the tokenizer has neither.
        """
        ids, opening = self._ids(text, add_special_tokens=True), self.bos or self.eos
        if ids:
            return ids
        if opening is None:
            raise UserError("the model has no token to begin a text with: give it a prompt.")
        return [self.special_ids[opening]]

    def _ids(self, text: str, add_special_tokens: bool) -> list[int]:
        # The library keeps this neither in the file nor in copies.
        self._library.encode_special_tokens = True
        try:
            text.encode()
        except UnicodeEncodeError as error:
            line = text.count("\n", 0, error.start) + 1
            raise UserError(
                f"The tokenizer does not know {text[error.start]!r} (character {error.start + 1}, line {line}), "
                "which is half a character: take it out."
            ) from None
        return self._library.encode(text, add_special_tokens=add_special_tokens).ids

    def drop_unknown(self, text: str) -> tuple[str, str]:
        """For where a person is typing: the text without half characters, which a terminal may send, and those."""
        known = text.encode(errors="ignore").decode()
        return known, "".join(dict.fromkeys(c for c in text if "\ud800" <= c <= "\udfff"))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids, special tokens by name. An id without a token, as in a padded embedding, gives none."""
        return self._library.decode([int(i) for i in ids], skip_special_tokens=False)

    def with_chat_tokens(self) -> BPETokenizer:
        """This tokenizer with all special tokens of a conversation; those that are missing get the next ids.

        From then on it adds nothing of its own before a text: the template says where `<|bos|>` stands.
        """
        library = tokenizers.Tokenizer.from_str(self.content)
        library.add_special_tokens(
            [AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS]
        )
        library.post_processor = None
        return replace(self, content=library.to_str(), bos=STANDARD_NAMES["bos"], eos=STANDARD_NAMES["eos"])

    def save(self, directory: Path) -> None:
        """Write `tokenizer.json`, its settings and, where it has the tokens for it, the chat template."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / FILE).write_text(self.content, encoding="utf-8")
        is_for_chat = self.special_ids.keys() >= set(SPECIAL_TOKENS)
        pad = STANDARD_NAMES["pad"] if is_for_chat else None
        names = {"bos": self.bos, "eos": self.eos, "pad": pad}
        save_settings(directory, {name: token for name, token in names.items() if token})
        if is_for_chat:
            save_template(directory)

    @classmethod
    def load(cls, directory: Path) -> BPETokenizer:
        """The tokenizer of a model directory: its `tokenizer.json`, or GPT-2's vocabulary and merges.

        Raises UserError where the files are missing, damaged, or hold another kind of tokenizer.
        """
        pair = old_pair(directory)
        library = _read_pair(*pair) if pair else _read(directory / FILE)
        library.no_truncation()  # some files keep how their last user cut and padded batches
        library.no_padding()
        own = {name: _own_token(directory, library, name) for name in ("bos", "eos")}
        return cls(library.to_str(), **own)


def old_pair(directory: Path) -> tuple[Path, Path] | None:
    """The two files of a tokenizer from before there was `tokenizer.json`; None where that is there."""
    if (directory / FILE).exists():
        return None
    found = ((directory / vocab, directory / merges) for vocab, merges in PAIRS)
    return next(((vocab, merges) for vocab, merges in found if vocab.exists() and merges.exists()), None)


def _byte_level(model: models.BPE) -> tokenizers.Tokenizer:
    """A tokenizer around the model that cuts texts as GPT-2 does."""
    library = tokenizers.Tokenizer(model)
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    return library


def _read(path: Path) -> tokenizers.Tokenizer:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): a model directory needs one.") from error
    except ValueError as error:
        raise _damaged(path) from error
    try:
        library = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing more special
        raise _damaged(path) from error
    if not isinstance(library.model, models.BPE):
        kind = type(library.model).__name__
        raise UserError(f"{path} holds a tokenizer of kind {kind}, not BPE: load it as that kind.")
    decoder = json.loads(text).get("decoder") or {}
    if "ByteLevel" not in [each.get("type") for each in (decoder, *decoder.get("decoders", ()))]:
        raise UserError(
            f"{path} holds a BPE tokenizer that is not byte-level, as those of the first Llamas: "
            "folio reads byte-level ones, as of GPT-2, Llama 3 and Qwen3."
        )
    return library


def _read_pair(vocab: Path, merges: Path) -> tokenizers.Tokenizer:
    try:
        library = _byte_level(models.BPE.from_file(str(vocab), str(merges)))
    except Exception as error:  # the library raises nothing more special
        raise _damaged(vocab, merges) from error
    if library.token_to_id(GPT2_END) is None:  # others cut texts in other ways, which stand in neither file
        raise UserError(
            f"{vocab} is not GPT-2's: it has no {GPT2_END}. Load the tokenizer with transformers and save_pretrained."
        )
    library.add_special_tokens([AddedToken(GPT2_END, normalized=False, special=True)])
    return library


def _damaged(*paths: Path) -> UserError:
    return UserError(f"{' or '.join(map(str, paths))} is damaged: copy it again, or save the model again.")


def _special_ids(library: tokenizers.Tokenizer) -> dict[str, int]:
    added = library.get_added_tokens_decoder()
    return {added[i].content: i for i in sorted(added) if added[i].special}


def _own_token(directory: Path, library: tokenizers.Tokenizer, name: str) -> str | None:
    """The special token that begins ("bos") or ends ("eos") a text, from whichever file tells."""
    special = _special_ids(library)
    told = _settings(directory / SETTINGS).get(f"{name}_token")
    told = told.get("content") if isinstance(told, dict) else told
    ids = _settings(directory / "config.json").get(f"{name}_token_id")
    ids = ids if isinstance(ids, list) else [ids]
    candidates = [told, *(token for token, i in special.items() if i in ids)]
    candidates += [GPT2_END] if old_pair(directory) else []
    return next((token for token in candidates if token in special), None)


def _settings(path: Path) -> dict[str, Any]:
    """A file of settings, or nothing where there is none to be read: what it would tell is of use, not needed."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}
