"""The settings of rotary positions, as transformers 4 and 5 write them."""

import json

import pytest
import torch

from folio.errors import UserError
from folio.model.directory import load_model, save_model
from folio.model.rope import read_rope, write_rope


def llama3(**changes):
    """Settings of Llama 3's scaling; None removes one."""
    scaling = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling |= {"rope_type": "llama3", "original_max_position_embeddings": 16} | changes
    return {key: value for key, value in scaling.items() if value is not None}


@torch.no_grad()
@pytest.mark.parametrize(
    "settings",
    [
        {"rope_scaling": llama3(), "rope_theta": 77.0},
        {"rope_scaling": llama3(rope_type=None, type="llama3"), "rope_theta": 77.0},
        {"rope_scaling": llama3(original_max_position_embeddings=None), "rope_theta": 77.0},
        {"rope_scaling": llama3(rope_theta=77.0), "rope_theta": 5.0},
        {"rope_scaling": llama3(), "original_max_position_embeddings": 12},
        {"rope_parameters": llama3(rope_theta=77.0)},
        {"rope_scaling": llama3(), "rope_parameters": {"rope_type": "default", "rope_theta": 3.0}},
        {"rope_scaling": None, "rope_parameters": llama3(partial_rotary_factor=1.0), "rope_theta": 50.0},
    ],
)
def test_scaling_is_read_as_transformers_reads_it(
    transformers, random_model, configs, ids, tmp_path, settings
):
    save_model(random_model(configs["llama"]), tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    del written["rope_theta"]
    (tmp_path / "config.json").write_text(json.dumps(written | settings))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ours = load_model(tmp_path).eval()
    assert ours.config.rope_scaling is not None
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-4, rtol=0)


def test_what_is_written_is_read():
    _, scaling = read_rope({"rope_parameters": llama3()})
    assert read_rope(write_rope(scaling))[1] == scaling
    assert write_rope(None) == {}


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ("linear", "rope_scaling is 'linear': it must be a table"),
        ({"rope_type": "yarn", "factor": 4}, "rope_type in rope_scaling is 'yarn'"),
        ({"type": "dynamic", "factor": 2}, "rope_type in rope_scaling is 'dynamic'"),
        ({"type": ["linear"]}, "rope_type in rope_scaling is .'linear'."),
        ({"full_attention": {"rope_type": "default"}}, "full_attention in rope_scaling is"),
        ({"type": "default", "mrope_section": [1, 2]}, "mrope_section in rope_scaling"),
        ({"type": "default", "partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        (llama3(beta_fast=32), "beta_fast in rope_scaling is 32"),
        (llama3(factor="8"), "factor in rope_scaling is '8': it must be a number"),
        (llama3(factor=float("nan")), "factor in rope_scaling is nan: it must be a number"),
        (llama3(factor=10**400), "factor in rope_scaling is 1000"),
        (llama3(factor=None), "factor in rope_scaling is None: it must be a number"),
        (llama3(high_freq_factor=1), "must be below high_freq_factor"),
    ],
)
def test_what_folio_does_not_have_is_named(scaling, message):
    with pytest.raises(UserError, match=message):
        read_rope({"rope_scaling": scaling})
