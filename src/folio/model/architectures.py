"""GPT-2, Llama and Qwen3 in Hugging Face's format: their settings and the names of their weights.

A table, and three readings of it: settings to `GPTConfig`, `GPTConfig` to settings, and which tensor of a weights file
holds which parameters. Nothing here touches a disk or a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from folio.errors import UserError
from folio.model.config import GPTConfig


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


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model architecture of `transformers`."""

    model_type: str
    class_name: str
    score_class_name: str
    """Its class with a scalar head."""
    parts: Mapping[str, Any]
    """Fields of `GPTConfig` that all models of this architecture share."""
    keys: Mapping[str, tuple[str, ...]]
    """Other fields of `GPTConfig`, and the settings that hold them; all settings of a field must agree."""
    defaults: Mapping[str, object]
    """Values that `transformers` uses for settings that are absent or null."""
    implied: tuple[str, ...]
    """Fields computed from others (see IMPLIED) where no setting gives them."""
    only: Mapping[str, tuple[object, ...]]
    """Settings of which folio supports only these values, which are equivalent. The first is written."""
    whole_heads: bool = False
    """Whether n_embd must be a multiple of n_head, although head_size is free."""
    prefix: str
    """Start of the names of all weights but the head's; files of a model without a head leave it out."""
    layers: tuple[StoredLayer, ...]
    ignored: str
    """Regular expression for tensors of old files that are not weights."""

    def read(self, settings: Mapping[str, Any]) -> GPTConfig:
        """Return the `GPTConfig` of a `config.json`. Raises UserError for a setting that folio does not support."""
        settings = _without_rope_nesting(settings)
        for key, supported in {**self.only, "quantization_config": (None,)}.items():
            if settings.get(key, supported[0]) not in supported:
                raise UserError(f"{key} is {settings[key]!r}: folio reads {_either(supported)} only.")
        values = {name: self._value(settings, name, keys) for name, keys in self.keys.items()}
        values = {**self.parts, **{name: value for name, value in values.items() if value is not None}}
        if missing := [keys[0] for name, keys in self.keys.items() if name not in {*values, *self.implied}]:
            raise UserError(f"{missing[0]} is missing.")
        for name in self.implied:
            values.setdefault(name, IMPLIED[name](values))
        return GPTConfig(**values)

    def write(self, config: GPTConfig, special_ids: Mapping[str, int]) -> dict[str, Any]:
        """Return the `config.json` of a `GPTConfig`. special_ids: token ids by "bos", "eos" and "pad".

        Raises UserError where this architecture cannot express the config.
        """
        settings = {
            "architectures": [self.class_name],
            "model_type": self.model_type,
            "dtype": "float32",
            # An absent id would get the default of transformers: a token of some other model.
            **{f"{name}_token_id": special_ids.get(name) for name in ("bos", "eos", "pad")},
            **{key: getattr(config, name) for name, keys in self.keys.items() for key in keys},
            **{key: values[0] for key, values in self.only.items() if values[0] is not None},
        }
        kept = self.read(settings)
        for name in (each.name for each in fields(config)):
            if getattr(kept, name) != getattr(config, name):
                raise UserError(
                    f"{name} is {getattr(config, name)!r}: "
                    f"as a {self.model_type} model with these sizes it must be {getattr(kept, name)!r}."
                )
        if self.whole_heads and config.n_embd % config.n_head:
            raise UserError(
                f"n_embd ({config.n_embd}) must be a multiple of n_head ({config.n_head}) "
                f"in a {self.model_type} model: transformers refuses it otherwise."
            )
        return settings

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
        given = {key: self.defaults.get(key) if settings.get(key) is None else settings[key] for key in keys}
        values = [_typed(name, key, value) for key, value in given.items() if value is not None]
        if len(set(values)) > 1:
            raise UserError(f"{_listing(given)}: folio has one {name} for all of these.")
        return values[0] if values else None


def architecture_of(config: GPTConfig) -> Architecture:
    """Return the architecture that has a config's parts. Raises UserError if there is none."""
    for architecture in ARCHITECTURES.values():
        if all(getattr(config, name) == part for name, part in architecture.parts.items()):
            return architecture
    parts = {name: getattr(config, name) for name in ("norm", "position", "mlp", "qk_norm", "bias")}
    raise UserError(
        f"{_listing(parts)}: this is none of {', '.join(ARCHITECTURES)}, "
        "and only these can be saved as a model directory."
    )


def architecture_named(model_type: object) -> Architecture:
    """Return the architecture of a model_type. Raises UserError if folio does not support it."""
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise UserError(f"model_type is {model_type!r}: folio reads {_either(tuple(ARCHITECTURES))} only.")
    return ARCHITECTURES[model_type]


def _without_rope_nesting(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with rope_theta at the top, as in transformers 4; 5 moved it into `rope_parameters`."""
    flat = dict(settings)
    plain = {"rope_type": "default", "type": "default", "partial_rotary_factor": 1.0}
    for place in ("rope_scaling", "rope_parameters"):
        nested = flat.pop(place, None) or {}
        if not isinstance(nested, Mapping):
            raise UserError(f"{place} is {nested!r}: it must be a table of settings.")
        for key, value in nested.items():
            if key == "rope_theta":
                flat[key] = value
            elif key not in plain or value != plain[key]:
                raise UserError(f"{key} in {place} is {value!r}: folio has plain rotary positions only.")
    return flat


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


def _listing(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{key} is {value!r}" for key, value in settings.items())


IMPLIED: Mapping[str, Callable[[Mapping[str, int]], int]] = {
    "n_kv_head": lambda sizes: sizes["n_head"],
    "head_size": lambda sizes: sizes["n_embd"] // max(sizes["n_head"], 1),
    "mlp_size": lambda sizes: 4 * sizes["n_embd"],
}

LLAMA_KEYS = {
    "vocab_size": ("vocab_size",),
    "block_size": ("max_position_embeddings",),
    "n_layer": ("num_hidden_layers",),
    "n_head": ("num_attention_heads",),
    "n_kv_head": ("num_key_value_heads",),
    "n_embd": ("hidden_size",),
    "head_size": ("head_dim",),
    "mlp_size": ("intermediate_size",),
    # The only dropout that this config has. transformers applies it to attention weights; folio applies it to embeddings
    # and residual branches instead, because dropout on attention weights rules out fused attention.
    "dropout": ("attention_dropout",),
    "norm_eps": ("rms_norm_eps",),
    "rope_theta": ("rope_theta",),
    "tied_embeddings": ("tie_word_embeddings",),
}
LLAMA_DEFAULTS = {
    "attention_dropout": 0.0,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": False,
}
LLAMA_LAYERS = (
    StoredLayer("model.embed_tokens", ("embedding",)),
    StoredLayer("model.layers.{}.input_layernorm", ("blocks.{}.attention_norm",)),
    StoredLayer("model.layers.{}.self_attn.q_proj", ("blocks.{}.attention.query",)),
    StoredLayer("model.layers.{}.self_attn.k_proj", ("blocks.{}.attention.key",)),
    StoredLayer("model.layers.{}.self_attn.v_proj", ("blocks.{}.attention.value",)),
    StoredLayer("model.layers.{}.self_attn.o_proj", ("blocks.{}.attention.output",)),
    StoredLayer("model.layers.{}.post_attention_layernorm", ("blocks.{}.mlp_norm",)),
    StoredLayer("model.layers.{}.mlp.gate_proj", ("blocks.{}.mlp.gate",)),
    StoredLayer("model.layers.{}.mlp.up_proj", ("blocks.{}.mlp.up",)),
    StoredLayer("model.layers.{}.mlp.down_proj", ("blocks.{}.mlp.down",)),
    StoredLayer("model.norm", ("norm",)),
    StoredLayer("lm_head", ("head",)),
    StoredLayer("score", ("score",)),
)

GPT2 = Architecture(
    model_type="gpt2",
    class_name="GPT2LMHeadModel",
    score_class_name="GPT2ForSequenceClassification",
    parts={"norm": "layer_norm", "position": "learned", "mlp": "gelu", "qk_norm": "none", "bias": True},
    keys={
        "vocab_size": ("vocab_size",),
        "block_size": ("n_positions",),
        "n_layer": ("n_layer",),
        "n_head": ("n_head",),
        "n_embd": ("n_embd",),
        "mlp_size": ("n_inner",),
        # folio does not apply attn_pdrop: dropout on attention weights rules out fused attention.
        "dropout": ("resid_pdrop", "embd_pdrop", "attn_pdrop"),
        "norm_eps": ("layer_norm_epsilon",),
        "tied_embeddings": ("tie_word_embeddings",),
    },
    defaults={
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.1,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
    },
    implied=("n_kv_head", "head_size", "mlp_size"),
    only={
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    },
    prefix="transformer.",
    layers=(
        StoredLayer("transformer.wte", ("embedding",)),
        StoredLayer("transformer.wpe", ("positions.embedding",)),
        StoredLayer("transformer.h.{}.ln_1", ("blocks.{}.attention_norm",)),
        StoredLayer(
            "transformer.h.{}.attn.c_attn",
            ("blocks.{}.attention.query", "blocks.{}.attention.key", "blocks.{}.attention.value"),
            transposed=True,
        ),
        StoredLayer("transformer.h.{}.attn.c_proj", ("blocks.{}.attention.output",), transposed=True),
        StoredLayer("transformer.h.{}.ln_2", ("blocks.{}.mlp_norm",)),
        StoredLayer("transformer.h.{}.mlp.c_fc", ("blocks.{}.mlp.up",), transposed=True),
        StoredLayer("transformer.h.{}.mlp.c_proj", ("blocks.{}.mlp.down",), transposed=True),
        StoredLayer("transformer.ln_f", ("norm",)),
        StoredLayer("lm_head", ("head",)),
        StoredLayer("score", ("score",)),
    ),
    # Old files hold the causal mask beside the weights.
    ignored=r"transformer\.h\.\d+\.attn\.(masked_)?bias",
)

LLAMA = Architecture(
    model_type="llama",
    class_name="LlamaForCausalLM",
    score_class_name="LlamaForSequenceClassification",
    parts={"norm": "rms_norm", "position": "rotary", "mlp": "swiglu", "qk_norm": "none"},
    keys=LLAMA_KEYS | {"bias": ("attention_bias", "mlp_bias")},
    defaults=LLAMA_DEFAULTS | {"attention_bias": False, "mlp_bias": False},
    implied=("n_kv_head", "head_size"),
    only={"hidden_act": ("silu", "swish"), "partial_rotary_factor": (None, 1.0)},
    whole_heads=True,
    prefix="model.",
    layers=LLAMA_LAYERS,
    # Old files hold the rotary frequencies beside the weights.
    ignored=r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",
)

QWEN3 = Architecture(
    model_type="qwen3",
    class_name="Qwen3ForCausalLM",
    score_class_name="Qwen3ForSequenceClassification",
    parts={"norm": "rms_norm", "position": "rotary", "mlp": "swiglu", "qk_norm": "rms_norm", "bias": False},
    keys=LLAMA_KEYS,
    defaults=LLAMA_DEFAULTS | {"head_dim": 128},
    implied=("n_kv_head",),
    only={
        "hidden_act": ("silu", "swish"),
        "attention_bias": (False,),
        "use_sliding_window": (False,),
        "partial_rotary_factor": (None, 1.0),
    },
    prefix="model.",
    layers=(
        *LLAMA_LAYERS,
        StoredLayer("model.layers.{}.self_attn.q_norm", ("blocks.{}.attention.query_norm",)),
        StoredLayer("model.layers.{}.self_attn.k_norm", ("blocks.{}.attention.key_norm",)),
    ),
    ignored=r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",
)

ARCHITECTURES = {architecture.model_type: architecture for architecture in (GPT2, LLAMA, QWEN3)}
"""The architectures that folio reads and writes, by the model_type of config.json."""
