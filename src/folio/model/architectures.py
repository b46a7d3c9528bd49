"""The architectures in Hugging Face's format that folio reads and writes: GPT-2, Llama, Mistral, Qwen2 and Qwen3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from folio.errors import UserError
from folio.model.architecture import Architecture, Choice, StoredLayer
from folio.model.config import GPTConfig


def architecture_of(config: GPTConfig) -> Architecture:
    """Return the first architecture that has a config's parts. Raises UserError if there is none.

    A Mistral without a window is a Llama, and becomes one when it is saved.
    """
    for architecture in ARCHITECTURES.values():
        if architecture.has_parts_of(config):
            return architecture
    names = ("norm", "position", "mlp", "qk_norm", "bias")
    parts = ", ".join(f"{name} is {getattr(config, name)!r}" for name in names)
    raise UserError(
        f"{parts}: this is none of {', '.join(ARCHITECTURES)}, and only these can be saved as a model directory."
    )


def architecture_named(model_type: object) -> Architecture:
    """Return the architecture of a model_type. Raises UserError if folio does not support it."""
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise UserError(
            f"model_type is {model_type!r}: folio reads {' or '.join(map(repr, ARCHITECTURES))} only."
        )
    return ARCHITECTURES[model_type]


def _qwen_window(settings: Mapping[str, Any]) -> object:
    return settings.get("sliding_window", 4096) if settings.get("use_sliding_window") else None


LLAMA_PARTS = {"norm": "rms_norm", "position": "rotary", "mlp": "swiglu", "qk_norm": "none"}
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
OLD_FREQUENCIES = r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq"
"""Old files hold the rotary frequencies beside the weights."""

GPT2 = Architecture(
    model_type="gpt2",
    class_name="GPT2LMHeadModel",
    score_class_name="GPT2ForSequenceClassification",
    parts={"norm": "layer_norm", "position": "learned", "mlp": "gelu", "qk_norm": "none", "bias": "all"},
    choices={
        "mlp": Choice(
            ("activation_function",),
            {("gelu_new",): "gelu", ("gelu_pytorch_tanh",): "gelu", ("gelu",): "gelu_exact"},
        )
    },
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
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
    },
    implied=("n_kv_head", "head_size", "mlp_size"),
    only={
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
    parts=LLAMA_PARTS | {"bias": "none"},
    choices={
        "bias": Choice(
            ("attention_bias", "mlp_bias"),
            {(False, False): "none", (True, False): "attention", (True, True): "all"},
        )
    },
    keys=LLAMA_KEYS,
    defaults=LLAMA_DEFAULTS | {"attention_bias": False, "mlp_bias": False},
    implied=("n_kv_head", "head_size"),
    only={"hidden_act": ("silu", "swish")},
    whole_heads=True,
    prefix="model.",
    layers=LLAMA_LAYERS,
    ignored=OLD_FREQUENCIES,
)

MISTRAL = Architecture(
    model_type="mistral",
    class_name="MistralForCausalLM",
    score_class_name="MistralForSequenceClassification",
    parts=LLAMA_PARTS | {"bias": "none"},
    keys=LLAMA_KEYS,
    defaults=LLAMA_DEFAULTS,
    implied=("n_kv_head", "head_size"),
    only={"hidden_act": ("silu", "swish")},
    window=lambda settings: settings.get("sliding_window", 4096),
    window_keys={"sliding_window": None},
    prefix="model.",
    layers=LLAMA_LAYERS,
    ignored=OLD_FREQUENCIES,
)

QWEN2 = Architecture(
    model_type="qwen2",
    class_name="Qwen2ForCausalLM",
    score_class_name="Qwen2ForSequenceClassification",
    parts=LLAMA_PARTS | {"bias": "qkv"},
    keys=LLAMA_KEYS,
    defaults=LLAMA_DEFAULTS,
    implied=("n_kv_head", "head_size"),
    only={"hidden_act": ("silu", "swish")},
    window=_qwen_window,
    window_keys={"use_sliding_window": False, "sliding_window": None},
    prefix="model.",
    layers=LLAMA_LAYERS,
    ignored=OLD_FREQUENCIES,
)

QWEN3 = Architecture(
    model_type="qwen3",
    class_name="Qwen3ForCausalLM",
    score_class_name="Qwen3ForSequenceClassification",
    parts=LLAMA_PARTS | {"qk_norm": "rms_norm", "bias": "none"},
    keys=LLAMA_KEYS,
    defaults=LLAMA_DEFAULTS | {"head_dim": 128},
    implied=("n_kv_head",),
    only={"hidden_act": ("silu", "swish"), "attention_bias": (False,)},
    window=_qwen_window,
    window_keys={"use_sliding_window": False, "sliding_window": None},
    prefix="model.",
    layers=(
        *LLAMA_LAYERS,
        StoredLayer("model.layers.{}.self_attn.q_norm", ("blocks.{}.attention.query_norm",)),
        StoredLayer("model.layers.{}.self_attn.k_norm", ("blocks.{}.attention.key_norm",)),
    ),
    ignored=OLD_FREQUENCIES,
)

ARCHITECTURES = {
    architecture.model_type: architecture for architecture in (GPT2, LLAMA, QWEN2, QWEN3, MISTRAL)
}
"""The architectures that folio reads and writes, by the model_type of config.json."""
