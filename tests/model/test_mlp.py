"""Feed-forward layers, against their formulas."""

import pytest
import torch
import torch.nn.functional as F

from folio.model.config import GPTConfig
from folio.model.mlp import MLPS

X = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))


def test_swiglu():
    mlp = MLPS["swiglu"](GPTConfig(vocab_size=5, n_head=2, n_embd=16))
    expected = (F.silu(X @ mlp.gate.weight.T) * (X @ mlp.up.weight.T)) @ mlp.down.weight.T
    torch.testing.assert_close(mlp(X), expected)


@pytest.mark.parametrize(("kind", "approximate"), [("gelu", "tanh"), ("gelu_exact", "none")])
def test_gelu(kind, approximate):
    config = GPTConfig(vocab_size=5, n_head=2, n_embd=16, mlp=kind, bias="all")
    mlp = MLPS[kind](config)
    hidden = F.gelu(X @ mlp.up.weight.T + mlp.up.bias, approximate=approximate)
    torch.testing.assert_close(mlp(X), hidden @ mlp.down.weight.T + mlp.down.bias)
