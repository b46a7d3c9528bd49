import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from folio.errors import FolioWarning, UserError
from folio.model.architectures import ARCHITECTURES, architecture_of
from folio.model.directory import (
    load_model,
    load_score_model,
    load_weights,
    read_config,
    save_model,
    weights_digest,
)
from folio.model.gpt import GPT
from folio.model.score import ScoreModel

IDS = {"bos": 1, "eos": 2, "pad": 3}


@pytest.fixture
def directory(random_model, configs, tmp_path):
    """A model directory of Qwen3, to be damaged."""
    save_model(random_model(configs["qwen3"]), tmp_path / "model", special_ids=IDS)
    return tmp_path / "model"


def edit(path: Path, **changes: object) -> None:
    """Change settings of a JSON file; None removes one."""
    settings = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))


def assert_equal_models(left: GPT, right: GPT) -> None:
    assert left.config == right.config
    theirs = right.state_dict()
    for name, tensor in left.state_dict().items():
        assert torch.equal(tensor, theirs.pop(name)), name
    assert not theirs


def randomize(model) -> None:
    """Random weights for a transformers model, with nothing left at 0 or 1."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.5 + 0.3 * noise if parameter.ndim == 1 else 0.2 * noise)


def rotary_kind(transformers, config):
    """The config class of `transformers` for a model with rotary positions, and its settings of biases."""
    if config.qk_norm == "rms_norm":
        return transformers.Qwen3Config, {"attention_bias": False}
    if config.bias == "qkv":
        return transformers.Qwen2Config, {}
    if config.n_embd % config.n_head:
        return transformers.MistralConfig, {"sliding_window": None}
    return transformers.LlamaConfig, {
        "attention_bias": config.bias != "none",
        "mlp_bias": config.bias == "all",
    }


def theirs_like(transformers, config):
    """A random transformers model, made from its own config class and not from what folio writes."""
    sizes = {
        "vocab_size": config.vocab_size,
        "bos_token_id": None,
        "eos_token_id": None,
        "tie_word_embeddings": config.tied_embeddings,
    }
    if config.position == "learned":
        theirs = transformers.GPT2Config(
            n_positions=config.block_size,
            n_embd=config.n_embd,
            n_layer=config.n_layer,
            n_head=config.n_head,
            n_inner=config.mlp_size,
            layer_norm_epsilon=config.norm_eps,
            activation_function={"gelu": "gelu_new", "gelu_exact": "gelu"}[config.mlp],
            **sizes,
        )
    else:
        kind, biases = rotary_kind(transformers, config)
        sizes |= biases
        if scaling := config.rope_scaling:
            sizes["rope_parameters"] = {
                "rope_type": "llama3",
                "rope_theta": config.rope_theta,
                "factor": scaling.factor,
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": scaling.original_block_size,
            }
        theirs = kind(
            hidden_size=config.n_embd,
            intermediate_size=config.mlp_size,
            num_hidden_layers=config.n_layer,
            num_attention_heads=config.n_head,
            num_key_value_heads=config.n_kv_head,
            head_dim=config.head_size,
            max_position_embeddings=config.block_size,
            rms_norm_eps=config.norm_eps,
            rope_theta=config.rope_theta,
            **sizes,
        )
    model = transformers.AutoModelForCausalLM.from_config(theirs).eval()
    randomize(model)
    return model


# Oracles


@torch.no_grad()
def test_folio_reads_what_transformers_writes(transformers, config, ids, tmp_path):
    theirs = theirs_like(transformers, config)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path).eval()
    assert replace(ours.config, dropout=0.0) == config
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-4, rtol=0)


@torch.no_grad()
def test_transformers_reads_what_folio_writes(transformers, model, ids, tmp_path):
    save_model(model, tmp_path, special_ids=IDS)
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(theirs).__name__ == architecture_of(model.config).class_name
    assert theirs.dtype == torch.float32
    torch.testing.assert_close(model(ids), theirs.eval()(ids).logits, atol=1e-4, rtol=0)
    for settings in (theirs.config, theirs.generation_config):
        assert (settings.bos_token_id, settings.eos_token_id, settings.pad_token_id) == (1, 2, 3)


def test_transformers_gets_no_special_ids_that_nobody_gave(transformers, model, tmp_path):
    save_model(model, tmp_path)
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (None, None, None)


@torch.no_grad()
def test_transformers_generates_until_eos(transformers, random_model, configs, tmp_path):
    model = random_model(configs["qwen3"])
    prompt = torch.tensor([[5, 6, 7]])
    save_model(model, tmp_path, special_ids={"eos": int(model(prompt)[0, -1].argmax()), "pad": 0})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert theirs.generate(prompt, max_new_tokens=10, do_sample=False).shape == (1, 4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3"])
def test_folio_reads_shards_in_half_precision(transformers, configs, ids, tmp_path, name):
    theirs_like(transformers, configs[name]).to(torch.bfloat16).save_pretrained(
        tmp_path, max_shard_size="20KB"
    )
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ours = load_model(tmp_path).eval()
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    # Read again, because a cast to bfloat16 rounds the rotary frequencies as well.
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "llama-grouped-tied", "qwen3-ungrouped-tied"])
def test_folio_reads_a_model_saved_without_its_head(transformers, configs, ids, tmp_path, name):
    theirs = theirs_like(transformers, configs[name])
    theirs.base_model.save_pretrained(tmp_path)
    ours = load_model(tmp_path).eval()
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-4, rtol=0)


def mistral(transformers, tmp_path, **settings):
    """Save a random Mistral, and return it."""
    theirs = transformers.MistralConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        **settings,
    )
    model = transformers.AutoModelForCausalLM.from_config(theirs).eval()
    randomize(model)
    model.save_pretrained(tmp_path)
    return model


@torch.no_grad()
@pytest.mark.parametrize("window", [None, 32, 100])
def test_a_mistral_whose_window_is_no_shorter_than_its_context_is_a_llama(
    transformers, ids, tmp_path, window
):
    theirs = mistral(transformers, tmp_path / "theirs", sliding_window=window)
    ours = load_model(tmp_path / "theirs").eval()
    assert ours.config.block_size == 32
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-4, rtol=0)
    save_model(ours, tmp_path / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    torch.testing.assert_close(again(ids).logits, theirs(ids).logits, atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_shorter_window_becomes_the_context(transformers, ids, tmp_path):
    theirs = mistral(transformers, tmp_path, sliding_window=12)
    with pytest.warns(FolioWarning, match="sliding_window is 12: folio reads 12 tokens, .* the model's 32"):
        ours = load_model(tmp_path).eval()
    assert ours.config.block_size == 12
    torch.testing.assert_close(ours(ids[:, :12]), theirs(ids[:, :12]).logits, atol=1e-4, rtol=0)
    edit(tmp_path / "config.json", sliding_window=None)  # absent: the default of transformers, 4096
    assert load_model(tmp_path).config.block_size == 32


@torch.no_grad()
@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_so_does_that_of_some_layers_of_a_qwen(transformers, random_model, configs, ids, tmp_path, name):
    save_model(random_model(configs[name]), tmp_path)
    edit(tmp_path / "config.json", sliding_window=12, use_sliding_window=True, max_window_layers=1)
    edit(tmp_path / "config.json", layer_types=["full_attention", "sliding_attention"])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with pytest.warns(FolioWarning, match="folio reads 12 tokens"):
        ours = load_model(tmp_path).eval()
    torch.testing.assert_close(ours(ids[:, :12]), theirs(ids[:, :12]).logits, atol=1e-4, rtol=0)


# Round trips


def test_a_model_comes_back_bit_by_bit(model, tmp_path):
    save_model(model, tmp_path)
    assert_equal_models(load_model(tmp_path), model)
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors"]


def test_every_part_of_the_config_comes_back(config, tmp_path):
    config = replace(config, dropout=0.25, block_size=13, norm_eps=3e-4)
    save_model(GPT(config), tmp_path)
    assert read_config(tmp_path) == config


def test_rope_theta_is_read_from_both_places(directory):
    edit(directory / "config.json", rope_theta=5e5)
    assert read_config(directory).rope_theta == 5e5
    edit(
        directory / "config.json", rope_theta=None, rope_parameters={"rope_theta": 7, "rope_type": "default"}
    )
    assert read_config(directory).rope_theta == 7.0
    edit(directory / "config.json", rope_parameters=None)
    assert read_config(directory).rope_theta == 10_000.0


def test_a_saved_file_may_be_written_over_by_the_model_it_gave(directory):
    model = load_model(directory)
    save_model(model, directory)
    assert_equal_models(load_model(directory), model)


def test_loading_draws_no_random_numbers_and_wants_gradients(config, random_model, tmp_path):
    save_model(random_model(config), tmp_path)
    state = torch.get_rng_state()
    model = load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_tied_embeddings_stay_one_parameter(configs, random_model, tmp_path):
    save_model(random_model(configs["gpt2"]), tmp_path)
    model = load_model(tmp_path)
    assert model.head.weight is model.embedding.weight
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")


def test_weights_go_into_a_model_that_exists(model, random_model, tmp_path):
    save_model(model, tmp_path)
    other = random_model(replace(model.config, dropout=0.1), seed=5)
    parameters = list(other.parameters())
    load_weights(other, tmp_path)
    assert all(new is old for new, old in zip(other.parameters(), parameters, strict=True))
    assert_equal_models(load_model(tmp_path), model)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_weights_of_another_model_are_refused(directory, configs, random_model):
    other = random_model(replace(configs["qwen3"], rope_theta=3.0), seed=5)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(UserError, match=r"rope_theta 10000\.0, this one 3\.0"):
        load_weights(other, directory)
    with pytest.raises(UserError, match="has n_kv_head 2, this one 4"):
        load_weights(random_model(configs["gpt2"]), directory)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


# What old files carry


def test_the_first_gpt2_files_have_masks_and_no_prefix(configs, random_model, tmp_path):
    model = random_model(configs["gpt2"])
    save_model(model, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    for layer in range(2):
        tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 32, 32)
        tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(tensors, tmp_path / "model.safetensors")
    edit(tmp_path / "config.json", n_inner=None, tie_word_embeddings=None, activation_function=None)
    edit(tmp_path / "config.json", n_inner=80)
    assert_equal_models(load_model(tmp_path), model)


def test_a_tied_head_may_be_in_the_file_once_more(configs, random_model, tmp_path):
    model = random_model(configs["qwen3-ungrouped-tied"])
    save_model(model, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(tensors, tmp_path / "model.safetensors")
    assert_equal_models(load_model(tmp_path), model)


def test_the_settings_of_the_released_gpt2():
    config = ARCHITECTURES["gpt2"].read(
        {
            "activation_function": "gelu_new",
            "attn_pdrop": 0.1,
            "embd_pdrop": 0.1,
            "layer_norm_epsilon": 1e-05,
            "model_type": "gpt2",
            "n_ctx": 1024,
            "n_embd": 768,
            "n_head": 12,
            "n_layer": 12,
            "n_positions": 1024,
            "resid_pdrop": 0.1,
            "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
            "vocab_size": 50257,
        }
    )
    assert (config.mlp_size, config.head_size, config.n_kv_head) == (3072, 64, 12)
    assert config.tied_embeddings
    with torch.device("meta"):
        assert GPT(config).n_parameters == 124_439_808


# Mistakes


def test_parts_of_no_known_architecture_are_not_saved(configs, tmp_path):
    odd = GPT(replace(configs["qwen3"], norm="layer_norm"))
    with pytest.raises(
        UserError, match=r"norm is 'layer_norm', .* none of gpt2, llama, qwen2, qwen3, mistral"
    ):
        save_model(odd, tmp_path)
    with pytest.raises(UserError, match=r"head_size is 16: as a gpt2 model .* must be 8"):
        save_model(GPT(replace(configs["gpt2"], head_size=16)), tmp_path)
    with pytest.raises(UserError, match=r"n_kv_head is 2: as a gpt2 model .* must be 4"):
        save_model(GPT(replace(configs["gpt2"], n_kv_head=2)), tmp_path)
    with pytest.raises(UserError, match=r"n_embd \(30\) must be a multiple of n_head \(4\)"):
        ARCHITECTURES["llama"].write(replace(configs["llama"], n_embd=30), {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("qwen3", {"model_type": "qwen3_moe"}, "model_type is 'qwen3_moe': folio reads 'gpt2' or 'llama'"),
        ("qwen3", {"model_type": None}, "model_type is None"),
        ("qwen3", {"hidden_act": "gelu"}, "hidden_act is 'gelu': folio reads 'silu'"),
        ("qwen3", {"attention_bias": True}, "attention_bias is True"),
        (
            "qwen3",
            {"layer_types": ["full_attention", "sliding_attention"]},
            "layer_types has 'sliding_attention'",
        ),
        (
            "qwen3",
            {"rope_scaling": {"rope_type": "yarn", "factor": 4}},
            "rope_type in rope_scaling is 'yarn'",
        ),
        ("qwen3", {"rope_parameters": {"rope_type": "linear"}}, "rope_type in rope_parameters is 'linear'"),
        ("qwen3", {"rope_scaling": "linear"}, "rope_scaling is 'linear': it must be a table"),
        ("qwen3", {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        (
            "mistral-odd-width",
            {"sliding_window": "4096"},
            "sliding_window is '4096': it must be an integer above 0",
        ),
        ("mistral-odd-width", {"sliding_window": 0}, "sliding_window is 0: it must be an integer above 0"),
        ("llama", {"layer_types": "chunked_attention"}, "layer_types has 'chunked_attention'"),
        ("qwen3", {"quantization_config": {"bits": 4}}, "quantization_config is {'bits': 4}"),
        ("qwen3", {"hidden_size": "32"}, "hidden_size is '32': it must be of type int"),
        ("qwen3", {"hidden_size": True}, "hidden_size is True: it must be of type int"),
        ("qwen3", {"rms_norm_eps": "small"}, "rms_norm_eps is 'small': it must be of type float"),
        ("qwen3", {"tie_word_embeddings": 1}, "tie_word_embeddings is 1: it must be of type bool"),
        ("qwen3", {"intermediate_size": None}, "intermediate_size is missing"),
        ("qwen3", {"num_key_value_heads": 3}, "must be a multiple of n_kv_head"),
        (
            "llama",
            {"mlp_bias": True},
            "attention_bias is False, mlp_bias is True: folio reads attention_bias is False and mlp_bias is False, or ",
        ),
        ("gpt2", {"activation_function": "relu"}, "activation_function is 'relu'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights is False"),
        ("gpt2", {"attn_pdrop": 0.3}, "embd_pdrop is 0.0, attn_pdrop is 0.3: folio has one dropout"),
    ],
)
def test_settings_that_folio_does_not_have_are_named(configs, tmp_path, name, changes, message):
    save_model(GPT(configs[name]), tmp_path)
    edit(tmp_path / "config.json", **changes)
    with pytest.raises(UserError, match=message) as error:
        load_model(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "config.json"))


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="There is no model directory"):
        load_model(tmp_path / "nowhere")


def test_a_directory_without_settings(tmp_path):
    with pytest.raises(UserError, match=r"it has no config\.json"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["{", "", "[1]", "\udcff"])
def test_broken_settings(directory, text):
    (directory / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"config\.json (cannot be read|must hold a JSON object)"):
        load_model(directory)


def test_no_weights(directory):
    (directory / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        load_model(directory)
    (directory / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(UserError, match=r"pytorch_model\.bin, .* Convert it"):
        load_model(directory)


@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_weights_cut_short(directory, kept):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"model\.safetensors .* damaged or cut short"):
        load_model(directory)


def test_a_shard_is_missing(directory):
    (directory / "model.safetensors").rename(directory / "model-1.safetensors")
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}))
    with pytest.raises(UserError, match=r"model-2\.safetensors is missing"):
        load_model(directory)
    index.write_text("{}")
    with pytest.raises(UserError, match="has no weight_map"):
        load_model(directory)


@pytest.mark.parametrize("name", ["../model-1.safetensors", "/etc/passwd", "..", ".", "", "a/b", "\0"])
def test_an_index_names_files_beside_it_only(directory, name):
    (directory / "model.safetensors").rename(directory.parent / "model-1.safetensors")
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    for read in (load_model, weights_digest):
        with pytest.raises(UserError, match=r"which is not a file beside it|is missing"):
            read(directory)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_that_are_not_finite_are_named(directory, value, dtype):
    path = directory / "model.safetensors"
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(path).items()}
    tensors["model.embed_tokens.weight"][3, 4] = value
    save_file(tensors, path)
    words = rf"model\.safetensors: model\.embed_tokens\.weight is not finite \({value} at \[3, 4\]\)"
    with pytest.raises(UserError, match=words):
        load_model(directory)


def test_weights_that_are_not_finite_are_not_saved(random_model, configs, tmp_path):
    model = random_model(configs["gpt2"])
    with torch.no_grad():
        model.norm.weight[5] = torch.nan
    with pytest.raises(
        UserError, match=r"transformer\.ln_f\.weight is not finite \(nan at \[5\]\).* not saved"
    ):
        save_model(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 10**12},
        {"num_hidden_layers": 1000},
        {"vocab_size": 10**13},
        {"vocab_size": 2**24},
        {"hidden_size": 2**20},
        {"hidden_size": -32},
        {"head_dim": 2**20},
        {"num_attention_heads": float("nan")},
        {"max_position_embeddings": 10**4000},
        {"rope_theta": 10**400},
        {"rope_theta": float("nan")},
        {"rope_theta": 0},
        {"rms_norm_eps": -1},
        {"rms_norm_eps": float("inf")},
        {"attention_dropout": float("nan")},
    ],
    ids=str,
)
def test_sizes_that_are_not_those_of_the_weights_ask_for_no_memory(directory, changes):
    edit(directory / "config.json", **changes)
    with pytest.raises(UserError) as error:
        load_model(directory)
    assert str(directory) in str(error.value)


@pytest.mark.parametrize("mean", ["x", float("nan"), None, [1]])
def test_a_score_mean_that_is_no_number_is_named(configs, tmp_path, mean):
    save_model(ScoreModel(configs["qwen3"]), tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"score_mean": mean}))
    with pytest.raises(UserError, match=r"score_mean is .*: it must be a finite number"):
        load_score_model(tmp_path)


def test_a_context_of_a_million_tokens_asks_for_no_memory(directory):
    edit(directory / "config.json", max_position_embeddings=2**24)
    assert load_model(directory).config.block_size == 2**24


def test_weights_of_another_size(directory):
    edit(directory / "config.json", hidden_size=64)
    with pytest.raises(UserError, match=r"model.embed_tokens.weight .* \[97, 32\], .* implies \[97, 64\]"):
        load_model(directory)


def test_weights_of_another_architecture(directory):
    edit(directory / "config.json", model_type="llama")
    with pytest.raises(UserError, match=r"missing none; unexpected .*(q|k)_norm.weight.* and 1 more"):
        load_model(directory)
    edit(directory / "config.json", model_type="qwen3", num_hidden_layers=3)
    with pytest.raises(UserError, match=r"missing model\.layers\.2\..* and 8 more; unexpected none"):
        load_model(directory)


def test_weights_that_are_not_numbers_as_we_know_them(directory):
    path = directory / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.int8)
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"model\.norm\.weight .* stored as I8"):
        load_model(directory)


def test_a_directory_that_cannot_be_written(configs, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="Cannot write the model"):
        save_model(GPT(configs["qwen3"]), tmp_path / "file")
