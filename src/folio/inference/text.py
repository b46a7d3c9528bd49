"""Text on top of the engine, as it becomes readable, up to a stop string."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.tokenizer.protocol import Tokenizer


def stream_text(
    engine: Engine,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    stop: Sequence[str] = (),
) -> Iterator[list[str]]:
    """Continue each prompt of token ids; yield the new text of each, "" where there is none yet.

    Joined, a row's pieces are its whole text. It never shows a special token, half a character, or a
    string of `stop`, before which the row ends. Ids that are no token of the tokenizer's are never drawn. Otherwise it
    is that of `Engine.stream`.
    """
    steps = engine.stream(prompts, replace(config, vocab_size=tokenizer.vocab_size))
    hidden = {*tokenizer.special_ids.values(), *config.stop_ids}
    rows = [_Row(tokenizer, stop) for _ in prompts]
    for step in steps:
        pieces = []
        for number, (row, token, reason) in enumerate(
            zip(rows, step.tokens, step.finish_reasons, strict=True)
        ):
            ids = [] if token is None or token in hidden else [token]
            pieces.append("" if row.has_ended else row.add(ids, is_last=reason is not None))
            if row.has_ended:
                steps.finish(number)
        yield pieces


class _Row:
    """Decode one row's ids to text that can be shown."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self.tokenizer = tokenizer
        self.stop = [string for string in stop if string]
        self.ids: list[int] = []
        """Not yet decoded: they may end in the middle of a character."""
        self.held = ""
        """Decoded and not yet shown: it may be the beginning of a stop string."""
        self.has_ended = False

    def add(self, ids: Sequence[int], is_last: bool) -> str:
        """Add new ids and return the text that is now certain; all of it with the last ones."""
        self.ids += ids
        text = self.tokenizer.decode(self.ids)
        if is_last or not text.endswith("\ufffd"):  # which stands for bytes that are no character, or not yet
            self.held, self.ids = self.held + text, []
        found = [at for at in map(self.held.find, self.stop) if at >= 0]
        self.has_ended = is_last or bool(found)
        end = min(found) if found else len(self.held) - (0 if is_last else self._n_undecided())
        shown, self.held = self.held[:end], self.held[end:]
        return shown

    def _n_undecided(self) -> int:
        """Return how many characters at the end may begin a stop string."""
        return max(
            (n for string in self.stop for n in range(1, len(string)) if self.held.endswith(string[:n])),
            default=0,
        )
