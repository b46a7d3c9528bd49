"""The settings of rotary positions in Hugging Face's format.

transformers 4 has `rope_theta` beside `rope_scaling`, 5 has both in `rope_parameters`; folio reads the two and writes the
first, which both versions take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from folio.errors import UserError
from folio.model.config import RopeScaling

ROPE_TYPES: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}
"""The kinds of rotary positions that folio has, and the settings of each."""
ORIGINAL = "original_max_position_embeddings"
ROPE_KEYS = ("rope_scaling", "rope_parameters", "rope_theta", "partial_rotary_factor", ORIGINAL)
"""The settings that `read_rope` reads."""
LARGEST = 1e15


def read_rope(settings: Mapping[str, Any]) -> tuple[dict[str, Any], RopeScaling | None]:
    """Return settings with `rope_theta` at the top and nothing nested, and the scaling of frequencies, if there is any.

    Raises UserError for a kind of scaling that folio does not have.
    """
    flat = dict(settings)
    places = {place: flat.pop(place, None) for place in ("rope_scaling", "rope_parameters")}
    place = next((place for place in places if places[place]), "rope_parameters")  # as transformers 5 chooses
    nested = places[place] or {}
    if not isinstance(nested, Mapping):
        raise UserError(f"{place} is {nested!r}: it must be a table of settings.")
    if nested.get("rope_theta") is not None:
        flat["rope_theta"] = nested["rope_theta"]
    flat.setdefault("partial_rotary_factor", nested.get("partial_rotary_factor"))
    if flat["partial_rotary_factor"] not in (None, 1):
        raise UserError(f"partial_rotary_factor is {flat['partial_rotary_factor']!r}: folio reads 1.0 only.")
    kind = nested.get("rope_type", nested.get("type", "default"))
    if not isinstance(kind, str) or kind not in ROPE_TYPES:
        raise UserError(
            f"rope_type in {place} is {kind!r}: folio reads {' or '.join(map(repr, ROPE_TYPES))} only."
        )
    known = {"rope_theta", "rope_type", "type", "partial_rotary_factor", *ROPE_TYPES[kind]}
    for key, value in nested.items():
        if key not in known and value is not None:
            raise UserError(
                f"{key} in {place} is {value!r}: folio has no such setting of {kind} rotary positions."
            )
    if not ROPE_TYPES[kind]:
        return flat, None
    original = flat.get(ORIGINAL) or nested.get(ORIGINAL) or flat.get("max_position_embeddings")
    given = {**nested, ORIGINAL: original}
    factor, low, high, original = (_number(place, key, given.get(key)) for key in ROPE_TYPES[kind])
    return flat, RopeScaling(
        factor=factor, low_freq_factor=low, high_freq_factor=high, original_block_size=int(original)
    )


def write_rope(scaling: RopeScaling | None) -> dict[str, Any]:
    """Return the settings of a scaling, beside `rope_theta`."""
    if scaling is None:
        return {}
    values = (
        scaling.factor,
        scaling.low_freq_factor,
        scaling.high_freq_factor,
        scaling.original_block_size,
    )
    return {"rope_scaling": {"rope_type": "llama3", **dict(zip(ROPE_TYPES["llama3"], values, strict=True))}}


def _number(place: str, key: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < LARGEST:
        raise UserError(f"{key} in {place} is {value!r}: it must be a number above 0.")
    return float(value)
