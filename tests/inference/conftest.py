"""Tiny models of every architecture with random weights."""

from ctypes import CDLL
from dataclasses import replace

import pytest
import torch

from folio.inference.compiled import CompiledGPT
from folio.inference.engine import Engine
from folio.inference.fused import FusedGPT
from folio.inference.reading import ALIKE
from folio.model.config import GPTConfig, RopeScaling
from folio.model.gpt import GPT
from folio.native.compiler import decoder

QWEN3 = GPTConfig(
    vocab_size=61, block_size=32, n_layer=2, n_head=4, n_kv_head=2, n_embd=32, head_size=16, mlp_size=48
)
GPT2 = replace(
    QWEN3,
    n_kv_head=4,
    head_size=8,
    norm="layer_norm",
    norm_eps=1e-5,
    position="learned",
    mlp="gelu",
    qk_norm="none",
    bias="all",
    tied_embeddings=True,
)
LLAMA = replace(QWEN3, qk_norm="none", bias="all", n_kv_head=1)
CONFIGS = {
    "qwen3": QWEN3,
    "gpt2": GPT2,
    "gpt2-exact-gelu": replace(GPT2, mlp="gelu_exact"),
    "llama": LLAMA,
    "llama3": replace(
        LLAMA,
        bias="attention",
        rope_scaling=RopeScaling(
            factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_block_size=16
        ),
    ),
    "qwen2": replace(LLAMA, bias="qkv"),
}


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> GPT:
    """A model in which no parameter is 0 or 1, where mistakes could hide."""
    torch.manual_seed(0)
    model = GPT(CONFIGS[request.param])
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn_like(parameter)
            parameter.copy_(0.7 + 0.3 * noise if parameter.ndim == 1 else 0.25 * noise)
    return model


@pytest.fixture
def ids() -> torch.Tensor:
    """Tokens of the vocabulary: (T)."""
    return torch.randint(61, (20,), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def engine(model: GPT) -> Engine:
    return Engine(model)


@pytest.fixture
def library() -> CDLL:
    """The functions of decoder.c."""
    found = decoder()
    if found is None:
        pytest.skip("no C compiler")
    return found


@pytest.fixture(params=["compiled", "torch"])
def either_decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Write tokens with one of the two decoders. Returns what the tokens of a pass are filled up to a multiple of."""
    if request.param == "torch":
        monkeypatch.setattr("folio.inference.reading.decoder", lambda: None)
        return ALIKE
    request.getfixturevalue("library")
    return 1


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of tokens of each pass over the model, as they are read."""
    sizes: list[int] = []
    step, read = FusedGPT.step, CompiledGPT.read
    monkeypatch.setattr(
        FusedGPT, "step", lambda gpt, ids, *rest: sizes.append(len(ids)) or step(gpt, ids, *rest)
    )
    monkeypatch.setattr(
        CompiledGPT, "read", lambda gpt, ids, *rest: sizes.append(len(ids)) or read(gpt, ids, *rest)
    )
    return sizes
