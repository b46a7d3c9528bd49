"""Whether a model says many things or always the same."""

from __future__ import annotations

from collections.abc import Sequence


def distinct_n(texts: Sequence[str], n: int = 2) -> float:
    """Share of different ones among the n-grams of words in all texts together (Li et al., 2016); 0 where there is none.

    It falls as there is more text, so compare only equally many texts of like length.
    """
    grams = [tuple(words[i : i + n]) for words in map(str.split, texts) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0
