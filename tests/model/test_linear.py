"""Linear layers in the precision of their input, alone and fused."""

import torch

from folio.model.linear import Linear, fused

X = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))


def test_the_output_has_the_precision_of_the_input_and_the_weights_theirs():
    layer = Linear(8, 4)
    assert layer(X.bfloat16()).dtype == torch.bfloat16
    assert layer.weight.dtype == torch.float32


def test_fused_layers_give_what_each_gives():
    for bias in (False, True):
        layers = [Linear(8, size, bias=bias) for size in (4, 2, 6)]
        for layer, output in zip(layers, fused(layers, X), strict=True):
            torch.testing.assert_close(output, layer(X))
