"""Tiny models of every architecture, shared by the tests of this folder."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from folio.model.config import GPTConfig, RopeScaling
from folio.model.gpt import GPT

QWEN3 = GPTConfig(
    vocab_size=97, block_size=32, n_layer=2, n_head=4, n_kv_head=2, n_embd=32, head_size=16, mlp_size=48
)
LLAMA = replace(QWEN3, qk_norm="none", n_kv_head=4, head_size=8, norm_eps=1e-5, rope_theta=500.0)
LLAMA3_SCALING = RopeScaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_block_size=16)
QWEN2 = replace(LLAMA, n_kv_head=2, bias="qkv", norm_eps=1e-6)
GPT2 = replace(
    LLAMA,
    norm="layer_norm",
    position="learned",
    rope_theta=10_000.0,
    mlp="gelu",
    bias="all",
    mlp_size=80,
    tied_embeddings=True,
)
CONFIGS = {
    "gpt2": GPT2,
    "gpt2-untied": replace(GPT2, tied_embeddings=False),
    "llama": LLAMA,
    "llama-grouped-tied": replace(LLAMA, n_kv_head=2, tied_embeddings=True),
    "llama-wide-heads": replace(LLAMA, n_kv_head=1, head_size=12),
    "gpt2-exact-gelu": replace(GPT2, mlp="gelu_exact"),
    "llama-bias": replace(LLAMA, bias="all"),
    "llama-attention-bias": replace(LLAMA, bias="attention"),
    "llama3": replace(LLAMA, rope_scaling=LLAMA3_SCALING),
    "mistral-odd-width": replace(LLAMA, n_embd=30, n_kv_head=2),
    "qwen2": replace(QWEN2, rope_theta=1e6),
    "qwen2-tied": replace(QWEN2, tied_embeddings=True, rope_scaling=LLAMA3_SCALING),
    "qwen3": QWEN3,
    "qwen3-ungrouped-tied": replace(QWEN3, tied_embeddings=True, n_kv_head=4, head_size=8, rope_theta=1e6),
    "qwen3-odd-width": replace(QWEN3, n_embd=30),
}


def make_model(config: GPTConfig, seed: int = 0) -> GPT:
    """A model in evaluation mode with every parameter random: nothing hides behind a zero or a one."""
    generator = torch.Generator().manual_seed(seed)
    model = GPT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.5 + 0.3 * noise if parameter.ndim == 1 else 0.2 * noise)
    return model


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


@pytest.fixture
def configs() -> dict[str, GPTConfig]:
    return CONFIGS


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> GPTConfig:
    return CONFIGS[request.param]


@pytest.fixture
def random_model() -> Callable[..., GPT]:
    return make_model


@pytest.fixture
def model(config: GPTConfig) -> GPT:
    return make_model(config)


@pytest.fixture
def ids() -> Tensor:
    """(3, 20), for any of the models."""
    return torch.randint(97, (3, 20), generator=torch.Generator().manual_seed(1))
