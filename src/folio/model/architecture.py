"""An architecture of `transformers` in Hugging Face's format: its settings and the names of its weights.

Three readings of one description: settings to `GPTConfig`, `GPTConfig` to settings, and which tensor of a weights file
holds which parameters. Nothing here touches a disk or a tensor; model/architectures.py has the descriptions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from folio.errors import UserError
from folio.model.config import GPTConfig
from folio.model.rope import ROPE_KEYS, read_rope, write_rope
from folio.model.unused_settings import UNUSED


@dataclass(frozen=True)
class StoredLayer:
    """A layer of a weights file.

    name:        its name; `{}` stands for the number of the block.
    ours:        folio's layers that it holds, concatenated along the output.
    transposed:  the weight is (in, out), as in GPT-2's `Conv1D`; otherwise (out, in).
    """

    name: str
    ours: tuple[str, ...]
    transposed: bool = False


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a weights file: its name, folio's parameters in it, and whether it is transposed."""

    name: str
    ours: tuple[str, ...]
    transposed: bool


@dataclass(frozen=True)
class Choice:
    """A part that settings choose.

    keys:   the settings.
    parts:  a part for each of their possible values; values that are equivalent have the same part, the first is written.
    """

    keys: tuple[str, ...]
    parts: Mapping[tuple[object, ...], str]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model architecture of `transformers`."""

    model_type: str
    class_name: str
    score_class_name: str
    """Its class with a scalar head."""
    parts: Mapping[str, Any]
    """Fields of `GPTConfig` that make a model this architecture; all of its models share those not in `choices`."""
    choices: Mapping[str, Choice] = field(default_factory=dict)
    """Fields of `GPTConfig` for parts that differ among its models."""
    keys: Mapping[str, tuple[str, ...]]
    """Other fields of `GPTConfig`, and the settings that hold them; all settings of a field must agree."""
    defaults: Mapping[str, object]
    """Values that `transformers` uses for settings that are absent or null."""
    implied: tuple[str, ...]
    """Fields computed from others (see IMPLIED) where no setting gives them."""
    only: Mapping[str, tuple[object, ...]]
    """Settings of which folio supports only these values, which are equivalent. The first is written."""
    window: Callable[[Mapping[str, Any]], object] = lambda settings: None
    """The number of tokens back to which a token attends, or None for all."""
    window_keys: Mapping[str, object] = field(default_factory=dict)
    """The settings that `window` reads, and what is written: no window."""
    whole_heads: bool = False
    """Whether n_embd must be a multiple of n_head, although head_size is free."""
    prefix: str
    """Start of the names of all weights but the head's; files of a model without a head leave it out."""
    layers: tuple[StoredLayer, ...]
    ignored: str
    """Regular expression for tensors of old files that are not weights."""

    def read(self, settings: Mapping[str, Any]) -> GPTConfig:
        """Return the `GPTConfig` of a `config.json`. Raises UserError for a setting that folio does not support.

        The context of a model with a sliding window is as long as the window: up to there it has no effect.
        """
        for key, supported in {**self.only, "quantization_config": (None,)}.items():
            if settings.get(key, supported[0]) not in supported:
                raise UserError(f"{key} is {settings[key]!r}: folio reads {_either(supported)} only.")
        settings, scaling = read_rope(settings) if self._is_rotary else (settings, None)
        values = {name: self._value(settings, name, keys) for name, keys in self.keys.items()}
        values |= {name: self._part(settings, choice) for name, choice in self.choices.items()}
        values = {**self.parts, **{name: value for name, value in values.items() if value is not None}}
        if missing := [keys[0] for name, keys in self.keys.items() if name not in {*values, *self.implied}]:
            raise UserError(f"{missing[0]} is missing.")
        for name in self.implied:
            values.setdefault(name, IMPLIED[name](values))
        values["block_size"] = min(values["block_size"], self._window(settings) or values["block_size"])
        return GPTConfig(**values, rope_scaling=scaling)

    def notices(self, settings: Mapping[str, Any]) -> list[str]:
        """Return what a user should know of settings that `read` takes, as sentences."""
        found = []
        window, (key,) = self._window(settings), self.keys["block_size"]
        if window and window < settings[key]:
            found.append(
                f"sliding_window is {window}: folio reads {window:,} tokens, up to which a window has no effect, "
                f"and not the model's {settings[key]:,}."
            )
        known = {
            *self.only,
            *self.window_keys,
            *self.defaults,
            *UNUSED,
            *(ROPE_KEYS if self._is_rotary else ()),
        }
        known |= {key for keys in self.keys.values() for key in keys}
        known |= {key for choice in self.choices.values() for key in choice.keys}
        unknown = [
            key for key, value in settings.items() if value and key not in known and not key.startswith("_")
        ]
        if unknown:
            found.append(f"folio does not know {_some(unknown)}, and leaves out what that may change.")
        return found

    def write(self, config: GPTConfig, special_ids: Mapping[str, int]) -> dict[str, Any]:
        """Return the `config.json` of a `GPTConfig`. special_ids: token ids by "bos", "eos" and "pad".

        Raises UserError where this architecture cannot express the config.
        """
        chosen = {
            key: value
            for name, choice in self.choices.items()
            for key, value in _settings_of(getattr(config, name), choice)
        }
        settings = {
            "architectures": [self.class_name],
            "model_type": self.model_type,
            "dtype": "float32",
            # An absent id would get the default of transformers: a token of some other model.
            **{f"{name}_token_id": special_ids.get(name) for name in ("bos", "eos", "pad")},
            **{key: getattr(config, name) for name, keys in self.keys.items() for key in keys},
            **{key: values[0] for key, values in self.only.items() if values[0] is not None},
            **self.window_keys,
            **chosen,
            **write_rope(config.rope_scaling),
        }
        kept = self.read(settings)
        for name in (each.name for each in fields(config)):
            if getattr(kept, name) != getattr(config, name):
                raise UserError(
                    f"{name} is {getattr(config, name)!r}: "
                    f"as a {self.model_type} model with these sizes it must be {getattr(kept, name)!r}."
                )
        if not self._has_fitting_heads(config):
            raise UserError(
                f"n_embd ({config.n_embd}) must be a multiple of n_head ({config.n_head}) "
                f"in a {self.model_type} model: transformers refuses it otherwise."
            )
        return settings

    def has_parts_of(self, config: GPTConfig) -> bool:
        """Return whether models of this architecture have a config's parts."""
        fixed = {name: part for name, part in self.parts.items() if name not in self.choices}
        return (
            all(getattr(config, name) == part for name, part in fixed.items())
            and all(getattr(config, name) in choice.parts.values() for name, choice in self.choices.items())
            and self._has_fitting_heads(config)
        )

    def tensors(self, n_layer: int, parameters: Collection[str]) -> Iterator[StoredTensor]:
        """Yield the tensors of a weights file that holds these parameters of folio's."""
        for layer in self.layers:
            for block in range(n_layer if "{}" in layer.name else 1):
                for kind in ("weight", "bias"):
                    ours = tuple(f"{name}.{kind}".format(block) for name in layer.ours)
                    if ours[0] in parameters:
                        name = f"{layer.name}.{kind}".format(block)
                        yield StoredTensor(name, ours, layer.transposed and kind == "weight")

    def _value(self, settings: Mapping[str, Any], name: str, keys: tuple[str, ...]) -> Any:
        """Return the value of a field of `GPTConfig` in the settings, or None."""
        given = self._given(settings, keys)
        values = [_typed(name, key, value) for key, value in given.items() if value is not None]
        if len(set(values)) > 1:
            raise UserError(f"{_listing(given)}: folio has one {name} for all of these.")
        return values[0] if values else None

    def _part(self, settings: Mapping[str, Any], choice: Choice) -> str:
        """Return the part that settings choose; an absent or null one has its default."""
        given = tuple(self._given(settings, choice.keys).values())
        for values, part in choice.parts.items():
            if given == values:
                return part
        named = dict(zip(choice.keys, given, strict=True))
        known = (_listing(dict(zip(choice.keys, values, strict=True)), " and ") for values in choice.parts)
        raise UserError(f"{_listing(named)}: folio reads {', or '.join(known)}.")

    def _given(self, settings: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
        return {key: self.defaults.get(key) if settings.get(key) is None else settings[key] for key in keys}

    def _window(self, settings: Mapping[str, Any]) -> int | None:
        window = self.window(settings)
        if window is not None and (type(window) is not int or window < 1):
            raise UserError(f"sliding_window is {window!r}: it must be an integer above 0, or null.")
        kinds = settings.get("layer_types") or []
        known = ("full_attention",) if window is None else ("full_attention", "sliding_attention")
        other = [kind for kind in kinds if kind not in known] if isinstance(kinds, list) else [kinds]
        if other:
            raise UserError(f"layer_types has {other[0]!r}: folio reads {_either(known)} only.")
        return window

    @property
    def _is_rotary(self) -> bool:
        return bool(self.parts["position"] == "rotary")

    def _has_fitting_heads(self, config: GPTConfig) -> bool:
        return not self.whole_heads or config.n_embd % config.n_head == 0


def _settings_of(part: str, choice: Choice) -> Iterator[tuple[str, object]]:
    """Yield the settings that choose a part; none where no settings do, which `Architecture.write` then reports."""
    for values in (values for values, each in choice.parts.items() if each == part):
        yield from zip(choice.keys, values, strict=True)
        return


def _typed(name: str, key: str, value: object) -> Any:
    """Convert a setting to the type of its `GPTConfig` field. Raises UserError for another type."""
    wanted = get_type_hints(GPTConfig)[name]
    accepted = (int, float) if wanted is float else (wanted,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and wanted is not bool):
        raise UserError(f"{key} is {value!r}: it must be of type {wanted.__name__}.")
    try:
        return wanted(value)
    except OverflowError:
        raise UserError(f"{key} is too large.") from None


def _either(values: tuple[object, ...]) -> str:
    return " or ".join(map(repr, values))


def _listing(settings: Mapping[str, object], between: str = ", ") -> str:
    return between.join(f"{key} is {value!r}" for key, value in settings.items())


def _some(names: list[str]) -> str:
    """List at most ten of them, which may be any text."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(repr(name)[:60] for name in names[:10]) + more


IMPLIED: Mapping[str, Callable[[Mapping[str, int]], int]] = {
    "n_kv_head": lambda sizes: sizes["n_head"],
    "head_size": lambda sizes: sizes["n_embd"] // max(sizes["n_head"], 1),
    "mlp_size": lambda sizes: 4 * sizes["n_embd"],
}
