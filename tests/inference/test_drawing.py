"""The compiled draw against PyTorch's, row by row."""

from collections.abc import Sequence
from ctypes import CDLL

import pytest
import torch

from folio.inference.drawing import CompiledDraw, TorchDraw
from folio.inference.sampling import RowSampling, SamplingConfig

CONFIGS = [
    SamplingConfig(),
    SamplingConfig(temperature=0.0),
    SamplingConfig(temperature=0.6, top_k=40),
    SamplingConfig(top_k=1),
    SamplingConfig(top_p=0.8),
    SamplingConfig(top_p=1e-6),
    SamplingConfig(min_p=0.05),
    SamplingConfig(temperature=1.7, top_k=30, top_p=0.9, min_p=0.02),
]


def both(hows: Sequence[RowSampling], library: CDLL) -> tuple[TorchDraw, CompiledDraw]:
    return TorchDraw(hows, torch.device("cpu")), CompiledDraw(hows, library)


@pytest.mark.parametrize("vocab_size", [1, 7, 70, 1001])
def test_it_draws_what_torch_draws(vocab_size: int, library: CDLL) -> None:
    """But for a draw in ten thousand, between two tokens that rounding decides."""
    generator = torch.Generator().manual_seed(0)
    hows = [RowSampling(sampling=config, logprob_temperature=at) for config in CONFIGS for at in (1.0, 0.7)]
    hows += [RowSampling(sampling=config, vocab_size=5) for config in CONFIGS]
    torch_draw, compiled_draw = both(hows, library)
    differ = 0
    for _ in range(100):
        logits = 4 * torch.randn(len(hows), vocab_size, generator=generator)
        scores = logits + torch.randn(logits.shape, generator=generator)
        noise = 1 - torch.rand(len(hows), 1, generator=generator)
        expected, expected_logprobs = torch_draw(logits, scores, noise)
        tokens, logprobs = compiled_draw(logits, scores, noise)
        same = tokens == expected
        differ += int((~same).sum())
        torch.testing.assert_close(torch.tensor(logprobs)[same], torch.tensor(expected_logprobs)[same])
    assert differ <= 1


def test_of_equal_scores_the_lower_ids_are_candidates(library: CDLL) -> None:
    draw = CompiledDraw([RowSampling(sampling=SamplingConfig(top_k=3))], library)
    scores = torch.zeros(1, 20)
    scores[0, 11] = 1.0
    drawn = {int(draw(scores, scores, torch.tensor([[share]]))[0]) for share in (1e-7, 0.5, 0.7, 0.95, 1.0)}
    assert drawn == {11, 0, 1}


def test_the_ends_of_the_noise_are_the_first_and_the_last_token(library: CDLL) -> None:
    draw = CompiledDraw([RowSampling()], library)
    logits = torch.tensor([[-torch.inf, 0.0, 1.0, 0.0, -torch.inf]])
    assert int(draw(logits, logits, torch.tensor([[2.0**-24]]))[0]) == 1
    assert int(draw(logits, logits, torch.tensor([[1.0]]))[0]) == 3
