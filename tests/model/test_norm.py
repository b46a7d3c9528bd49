"""Norms, against their definitions."""

import torch

from folio.model.norm import NORMS

X = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))


def test_rms_norm_has_a_mean_square_of_one():
    y = NORMS["rms_norm"](8, eps=1e-6)(X)
    torch.testing.assert_close(y.pow(2).mean(-1), torch.ones(3, 5), atol=1e-4, rtol=0)
    torch.testing.assert_close(y, X / (X.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt())


def test_layer_norm_has_mean_0_and_variance_1():
    y = NORMS["layer_norm"](8, eps=1e-5)(X)
    torch.testing.assert_close(y.mean(-1), torch.zeros(3, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(-1, correction=0), torch.ones(3, 5), atol=1e-3, rtol=0)


def test_no_norm_changes_nothing():
    assert torch.equal(NORMS["none"](8, eps=1.0)(X), X)


def test_all_keep_the_precision_of_their_input():
    for norm in NORMS.values():
        assert norm(8, eps=1e-6)(X.bfloat16()).dtype == torch.bfloat16
