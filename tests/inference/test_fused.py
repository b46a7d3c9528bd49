import pytest
import torch

from folio.inference import fused as fused_parts
from folio.inference.fused import FusedGPT
from folio.model import mlp, norm, positions
from folio.model.cache import KVCache
from folio.model.gpt import GPT


def test_every_part_of_a_model_has_a_fused_one() -> None:
    assert fused_parts.NORMS.keys() == norm.NORMS.keys()
    assert fused_parts.POSITIONS.keys() == positions.POSITIONS.keys()
    assert fused_parts.MLPS.keys() == mlp.MLPS.keys()


@pytest.mark.parametrize("padding", [[0, 0, 0], [3, 0, 5]])
@torch.inference_mode()
def test_it_gives_the_models_logits(model: GPT, padding: list[int]) -> None:
    ids = torch.randint(model.config.vocab_size, (3, 20))
    ours, theirs = (KVCache(model.config, torch.tensor(padding), torch.float32) for _ in range(2))
    model(ids[:, :12], ours.extend(12))
    model(ids[:, :12], theirs.extend(12))
    fused = FusedGPT(model)
    for t in range(12, 20):
        expected = model(ids[:, t : t + 1], theirs.extend(1))[:, 0]
        torch.testing.assert_close(fused.step(ids[:, t], ours), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_it_computes_in_the_models_precision(model: GPT) -> None:
    ids = torch.randint(model.config.vocab_size, (2, 8))
    exact = model(ids)[:, -1]
    model.compute_dtype = torch.bfloat16
    cache = KVCache(model.config, torch.zeros(2, dtype=torch.int64), torch.bfloat16)
    model(ids[:, :-1], cache.extend(7))
    logits = FusedGPT(model).step(ids[:, -1], cache)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), exact, atol=0.05 * float(exact.abs().max()), rtol=0)


def test_it_is_a_copy(model: GPT) -> None:
    fused = FusedGPT(model)
    before = [matrix.weight.clone() for layer in fused.layers for matrix in (layer.project, layer.output)]
    with torch.no_grad():
        for parameter in model.blocks.parameters():
            parameter.add_(1)
    after = [matrix.weight for layer in fused.layers for matrix in (layer.project, layer.output)]
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))
