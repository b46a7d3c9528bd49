"""Diversity of generated texts."""

from __future__ import annotations

from collections.abc import Sequence


def distinct_n(texts: Sequence[str], n: int = 2) -> float:
    """Return the share of distinct n-grams of words in all texts together (Li et al., 2016); 0 where there are none.

    More text lowers it: compare only equally many texts of similar length.
    """
    grams = [tuple(words[i : i + n]) for words in map(str.split, texts) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0
