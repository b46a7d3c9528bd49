"""Counter-based random numbers: each is a function of its seed and its place alone, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = int | NDArray[np.int64] | NDArray[np.uint64]
"""Integers, taken modulo 2**64."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@np.errstate(over="ignore")  # multiplication modulo 2**64 is meant
def hash64(*words: Words) -> NDArray[np.uint64]:
    """Return 64 random-looking bits for each tuple of words, which broadcast.

    Each word is added by the finalizer of SplitMix64 (Steele et al., 2014): for the same words before it, different
    words give different bits.
    """
    bits = np.zeros((), dtype=np.uint64)
    for word in words:
        bits = _mix((bits ^ _as_uint64(word)) + _GOLDEN)
    return np.asarray(bits)


def uniform(*words: Words) -> NDArray[np.float32]:
    """Return a number in (0, 1] for each tuple of words, a multiple of 2**-24."""
    return ((hash64(*words) >> np.uint64(40)) + np.uint64(1)).astype(np.float32) * np.float32(2**-24)


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _as_uint64(word: Words) -> NDArray[np.uint64] | np.uint64:
    return (
        np.uint64(word % 2**64) if isinstance(word, int) else np.asarray(word).astype(np.uint64, copy=False)
    )
