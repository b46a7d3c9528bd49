"""The lecture's tokenizer, in which each character is a token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folio.errors import UserError
from folio.files import write_file
from folio.tokenizer.chat_template import save_template
from folio.tokenizer.special_tokens import SPECIAL_TOKENS, STANDARD_NAMES, save_settings
from folio.tokenizer.tokenizer_json import ADVICE, FILE, model_kind, read_content


@dataclass(frozen=True)
class CharTokenizer:
    """A tokenizer with one id for each Unicode code point: characters in sorted order, then the special tokens.

    "\\r\\n", a letter with a combining accent and a joined emoji are several characters. The special tokens are reserved
    from the start, so that a model of plain text can learn to chat without a larger embedding. Tokenizers with the same
    characters are equal.

    characters: single characters in any order; repeats count once.
    """

    characters: Sequence[str]

    def __post_init__(self) -> None:
        if any(len(character) != 1 for character in self.characters):
            raise ValueError("characters must be strings of length 1")
        object.__setattr__(self, "characters", tuple(sorted(set(self.characters))))

    @classmethod
    def train(cls, text: str) -> CharTokenizer:
        """Return the tokenizer of the characters of `text`."""
        return cls(tuple(set(text)))

    @property
    def unit(self) -> str:
        return "character"

    @property
    def vocab_size(self) -> int:
        """Number of characters and special tokens (V)."""
        return len(self.characters) + len(SPECIAL_TOKENS)

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """The id of each special token, by name."""
        return {token: len(self.characters) + i for i, token in enumerate(SPECIAL_TOKENS)}

    @property
    def end_ids(self) -> list[int]:
        return [self.special_ids[STANDARD_NAMES["eos"]]]

    @cached_property
    def _tokens(self) -> dict[int, str]:
        return dict(enumerate((*self.characters, *SPECIAL_TOKENS)))

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        """Code point -> id; -1 where there is none, as in the last entry, which stands for all beyond it."""
        codes = _code_points("".join(self.characters))
        table = np.full(int(codes.max(initial=0)) + 2, -1, dtype=np.int32)
        table[codes] = np.arange(len(codes), dtype=np.int32)
        return table

    def _lookup(self, codes: NDArray[np.uint32]) -> NDArray[np.int32]:
        return self._table[np.minimum(codes, len(self._table) - 1)]

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the id of each character: (len(text)) int32.

        Text never becomes a special token: "<|end|>" gives the ids of seven characters, so nobody can end a turn
        by typing. (The saved tokenizer.json, read with `transformers`, does make it the special token.)

        Raises UserError at the first character that the tokenizer does not know.
        """
        ids = self._lookup(_code_points(text))
        unknown = ids < 0
        if unknown.any():
            at = int(unknown.argmax())
            raise UserError(
                f"The tokenizer does not know {text[at]!r} (character {at + 1}, line {text.count(chr(10), 0, at) + 1}): "
                "remove it, or train a new model on a text that has it."
            )
        return ids

    def prompt(self, text: str) -> list[int]:
        """Return the ids for a model to continue a text: its own, or `<|bos|>` where it is empty."""
        return self.encode(text).tolist() or [self.special_ids[STANDARD_NAMES["bos"]]]

    def drop_unknown(self, text: str) -> tuple[str, str]:
        """Return the text without unknown characters, and those, each once, in order: for text that a user types."""
        codes = _code_points(text)
        known = self._lookup(codes) >= 0
        return _text(codes[known]), "".join(dict.fromkeys(_text(codes[~known])))

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, special tokens by name. An id without a token, as in a padded embedding, adds nothing."""
        return "".join(self._tokens.get(int(i), "") for i in ids)

    def with_chat_tokens(self) -> CharTokenizer:
        """Return self: it always has them."""
        return self

    def save(self, directory: Path, block_size: int | None = None) -> None:
        """Write `tokenizer.json`, its settings and the chat template, as `transformers.AutoTokenizer` reads them.

        There it gives the same ids, except for special tokens in text (see `encode`) and unknown characters: they become
        padding, which others leave out of the loss, because an id of their own would need a larger embedding. It adds no
        `<|bos|>`. block_size: the model's context, written as `model_max_length`.
        """
        from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

        unknown = STANDARD_NAMES["pad"]
        vocab = {token: i for i, token in self._tokens.items()}
        tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=unknown))
        # Unlike ".", this class takes in newlines.
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = decoders.Fuse()
        tokenizer.add_special_tokens(
            [AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS]
        )
        write_file(directory / FILE, tokenizer.to_str(pretty=True).encode())
        save_settings(directory, {**STANDARD_NAMES, "unk": unknown}, block_size)
        save_template(directory)

    @classmethod
    def load(cls, directory: Path) -> CharTokenizer:
        """Load a tokenizer that `save` wrote; `tokenizer.json` is enough.

        Raises UserError where the file is missing, damaged, or holds another kind of tokenizer.
        """
        path = directory / FILE
        content = read_content(path)
        if (kind := model_kind(content)) != "WordLevel":
            raise UserError(
                f"{path} holds a tokenizer of kind {kind}, not a character tokenizer: load it as that kind."
            )
        vocab = content["model"].get("vocab")
        if not isinstance(vocab, dict):
            raise UserError(f"{path} is no tokenizer: it has no vocabulary. {ADVICE}")
        characters = [token for token in vocab if token not in SPECIAL_TOKENS]
        if all(len(character) == 1 for character in characters):
            tokenizer = cls(characters)
            if {token: i for i, token in tokenizer._tokens.items()} == vocab:
                return tokenizer
        raise UserError(f"{path} is not a character tokenizer of folio: its tokens or their ids differ.")


def _code_points(text: str) -> NDArray[np.uint32]:
    # Lone surrogates come only from a terminal; let them through, to be reported as unknown characters.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _text(codes: NDArray[np.uint32]) -> str:
    return codes.tobytes().decode("utf-32-le", "surrogatepass")
