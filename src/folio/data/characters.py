"""Find the characters of texts that a tokenizer does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from folio.errors import UserError
from folio.tokenizer.protocol import Tokenizer

NAMED = 10
"""Unknown characters that a message names; where there are more, they are counted."""


def require_known(tokenizer: Tokenizer, texts: Iterable[tuple[str, str]]) -> None:
    """Raise UserError, which lists all, where texts have characters that the tokenizer does not know.

    texts: each after words on where it stands.
    """
    counts, first = Counter[str](), dict[str, str]()
    for where, text in texts:
        for character in tokenizer.drop_unknown(text)[1]:
            counts[character] += text.count(character)
            first.setdefault(character, where)
    if not counts:
        return
    shown = ", ".join(
        f"{character!r} ({n:,} {'time' if n == 1 else 'times'}, first in {first[character]})"
        for character, n in counts.most_common(NAMED)
    )
    more = f", and {len(counts) - NAMED:,} more" if len(counts) > NAMED else ""
    what = "a character" if len(counts) == 1 else f"{len(counts):,} characters"
    raise UserError(
        f"the data have {what} that the model does not know: {shown}{more}. Remove them, or pretrain a model on a text "
        "that has them, or with tokenizer bpe, which knows all."
    )
