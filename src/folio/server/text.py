"""Tokens as they are written -> text that can be shown, with the tokens that it is made of; and texts -> tokens."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool

from folio.errors import UserError
from folio.inference.drawing import TokenLogprobs
from folio.server.errors import ApiError
from folio.server.vocabulary import Vocabulary

LONG = 50_000
"""Characters of a text that take so long to encode that the others should not wait."""


class Token(NamedTuple):
    """A token that was shown.

    id, logprobs: what was drawn, and how likely it was. offset: the character of the text at which it begins; for what
    is no whole character, that of the character it belongs to.
    """

    id: int
    logprobs: TokenLogprobs | None
    offset: int


class _Held(NamedTuple):
    token: Token
    end: int
    """The character before which it ends."""


class TextRow:
    """The text of one answer. It never has half a character before its end, nor a stop string or what may become one.

    A token is shown together with its first character. Special tokens have no text, and are shown like others.

    stop: strings before which the text ends. hidden: tokens that are not shown at all.
    """

    def __init__(self, vocabulary: Vocabulary, stop: Sequence[str], hidden: Sequence[int]) -> None:
        self._bytes = vocabulary.bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = stop
        self._longest = max(map(len, stop), default=1)
        self._hidden = frozenset(hidden)
        self._text = ""
        """Decoded and not yet shown."""
        self._n_shown = 0
        self._held: deque[_Held] = deque()
        self._is_inside = False
        """Whether the last token ended within a character."""
        self.has_stopped = False
        """Whether the text has come to a stop string."""

    def add(
        self, id: int | None, logprobs: TokenLogprobs | None, *, is_last: bool
    ) -> tuple[str, list[Token]]:
        """Add a token, or none, and return the text that is now certain and its tokens; with the last one, all of it."""
        if id is not None and id not in self._hidden:
            self._append(id, logprobs)
        if is_last:
            self._text += self._decoder.decode(b"", final=True)
        end = self._end(is_last) if self._stop else len(self._text)
        text, self._text = self._text[:end], self._text[end:]
        self._n_shown += end
        return text, self._tokens(is_last)

    def _append(self, id: int, logprobs: TokenLogprobs | None) -> None:
        start = self._n_shown + len(self._text)
        piece = self._bytes[id] if id < len(self._bytes) else b""
        self._text += self._decoder.decode(piece)
        self._is_inside = bool(self._decoder.getstate()[0])
        end = self._n_shown + len(self._text) + self._is_inside
        self._held.append(_Held(Token(id, logprobs, start), end))

    def _end(self, is_last: bool) -> int:
        """Return how much of the held text is certain."""
        found = [at for at in map(self._text.find, self._stop) if at >= 0]
        if found:
            self.has_stopped = True
            return min(found)
        if is_last:
            return len(self._text)
        tails = range(1, min(self._longest, len(self._text) + 1))
        return len(self._text) - max(
            (n for n in tails if any(len(s) > n and s.startswith(self._text[-n:]) for s in self._stop)),
            default=0,
        )

    def _tokens(self, is_last: bool) -> list[Token]:
        """Take out the tokens that have been shown."""
        shown = []
        is_all = is_last and not self.has_stopped
        while self._held and (is_all or self._is_shown(self._held[0])):
            shown.append(self._held.popleft().token)
        return shown

    def _is_shown(self, held: _Held) -> bool:
        if self.has_stopped:
            return held.token.offset < self._n_shown
        return held.end <= self._n_shown


def decoded(vocabulary: Vocabulary, ids: Sequence[int]) -> tuple[str, list[int]]:
    """Return the text of ids, special tokens by name, and the character at which each begins."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text, offsets = "", []
    for id in ids:
        offsets.append(len(text))
        if id in vocabulary.special or id >= len(vocabulary.bytes):
            text += decoder.decode(b"", final=True) + vocabulary.name(id)
            decoder.reset()
        else:
            text += decoder.decode(vocabulary.bytes[id])
    return text + decoder.decode(b"", final=True), offsets


async def encoded(encode: Callable[[str], list[int]], text: str, where: str) -> list[int]:
    """Return the ids of a text, beside the event loop where it is long. Raises ApiError for a character that is unknown.

    where: the field that has the text.
    """
    try:
        return await run_in_threadpool(encode, text) if len(text) > LONG else encode(text)
    except UserError as error:
        raise ApiError(400, f"{where}: {error}", where, "unknown_character") from None
