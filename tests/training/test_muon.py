"""Muon against singular value decomposition, and against torch's own."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from folio.training.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 8, 24), (3, 24, 8), (2, 1, 5)])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_orthogonalize_keeps_singular_vectors_and_evens_singular_values(shape, scale):
    matrices = scale * torch.randn(shape, generator=torch.Generator().manual_seed(1))
    result = orthogonalize(matrices.double(), steps=5)
    left, values, right = torch.linalg.svd(matrices.double(), full_matrices=False)
    # In the basis of the input's singular vectors what is left is diagonal, its entries the new values.
    inner = left.mT @ result @ right.mT
    new_values = inner.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(inner, torch.diag_embed(new_values), atol=1e-5, rtol=0)
    large = values > 0.02 * values.norm(dim=-1, keepdim=True)
    assert ((new_values > 0.6) & (new_values < 1.3))[large].all()


def test_orthogonalize_leaves_zeros():
    assert torch.equal(orthogonalize(torch.zeros(1, 4, 6), steps=5), torch.zeros(1, 4, 6))


def test_matrices_of_a_batch_do_not_mix():
    matrices = torch.randn(4, 6, 9)
    together = orthogonalize(matrices, steps=5)
    alone = torch.cat([orthogonalize(matrix[None], steps=5) for matrix in matrices])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def two_of(shapes: list[tuple[int, int]]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    return ours, copy.deepcopy(ours)


def set_gradients(*lists: list[nn.Parameter]) -> None:
    for parameters in zip(*lists, strict=True):
        gradient = torch.randn_like(parameters[0])
        for parameter in parameters:
            parameter.grad = gradient.clone()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_equals_torchs_muon(weight_decay):
    ours, theirs = two_of([(16, 16), (24, 8), (8, 24), (24, 8), (16, 16)])
    start = copy.deepcopy(ours)
    settings = {"lr": 0.05, "momentum": 0.9, "weight_decay": weight_decay}
    optimizer = Muon(ours, **settings)
    reference = torch.optim.Muon(theirs, **settings, nesterov=True, ns_steps=4, adjust_lr_fn="original")
    for _ in range(4):
        set_gradients(ours, theirs)
        optimizer.step()
        reference.step()
    for our, their, first in zip(ours, theirs, start, strict=True):
        moved = (their - first).norm().item()
        assert (our - their).norm().item() < 0.02 * moved  # both compute in bfloat16


def test_the_precision_hardly_matters():
    low, high = two_of([(12, 20)] * 2)
    optimizers = Muon(low, lr=0.05, dtype=torch.bfloat16), Muon(high, lr=0.05, dtype=torch.float32)
    start = copy.deepcopy(low)
    set_gradients(low, high)
    for optimizer in optimizers:
        optimizer.step()
    for a, b, first in zip(low, high, start, strict=True):
        assert (a - b).norm() < 0.03 * (b - first).norm()
        assert a.dtype == torch.float32


def test_a_parameter_without_a_gradient_stays():
    moved, still = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(3, 4))
    optimizer = Muon([moved, still], lr=0.1, weight_decay=0.5)
    moved.grad = torch.randn(3, 4)
    optimizer.step()
    assert torch.equal(still, torch.ones(3, 4))
    assert not torch.equal(moved, torch.ones(3, 4))


def test_only_matrices():
    with pytest.raises(ValueError, match="2-D parameters"):
        Muon([nn.Parameter(torch.zeros(3))], lr=0.1)


@settings(max_examples=10)
@given(st.integers(0, 3), st.floats(0, 0.99), st.integers(0, 99))
def test_state_dict_continues_exactly(n_before, momentum, seed):
    torch.manual_seed(seed)
    gradients = torch.randn(n_before + 2, 5, 7)

    def steps(optimizer: Muon, parameter: nn.Parameter, some: Tensor) -> None:
        for gradient in some:
            parameter.grad = gradient.clone()
            optimizer.step()

    whole = nn.Parameter(torch.zeros(5, 7))
    first = Muon([whole], lr=0.02, momentum=momentum)
    steps(first, whole, gradients[:n_before])
    resumed = nn.Parameter(whole.detach().clone())
    second = Muon([resumed], lr=0.5)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    steps(first, whole, gradients[n_before:])
    steps(second, resumed, gradients[n_before:])
    assert torch.equal(resumed, whole)
