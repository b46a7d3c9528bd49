import pytest
import torch

from folio.inference.fused import Decoder
from folio.model.cache import KVCache
from folio.model.gpt import GPT


@pytest.mark.parametrize("padding", [[0, 0, 0], [3, 0, 5]])
@torch.inference_mode()
def test_decoder_gives_the_models_logits(model: GPT, padding: list[int]) -> None:
    ids = torch.randint(model.config.vocab_size, (3, 20))
    ours, theirs = (KVCache(model.config, torch.tensor(padding), torch.float32) for _ in range(2))
    model(ids[:, :12], ours)
    model(ids[:, :12], theirs)
    decoder = Decoder(model)
    for t in range(12, 20):
        expected = model(ids[:, t : t + 1], theirs)[:, 0]
        torch.testing.assert_close(decoder.step(ids[:, t], ours), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_decoder_computes_in_the_models_precision(model: GPT) -> None:
    ids = torch.randint(model.config.vocab_size, (2, 8))
    exact = model(ids)[:, -1]
    model.compute_dtype = torch.bfloat16
    cache = KVCache(model.config, torch.zeros(2, dtype=torch.int64), torch.bfloat16)
    model(ids[:, :-1], cache)
    logits = Decoder(model).step(ids[:, -1], cache)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), exact, atol=0.05 * float(exact.abs().max()), rtol=0)


def test_decoder_is_a_copy(model: GPT) -> None:
    decoder = Decoder(model)
    before = [matrix.weight.clone() for layer in decoder.layers for matrix in (layer.project, layer.output)]
    with torch.no_grad():
        for parameter in model.blocks.parameters():
            parameter.add_(1)
    after = [matrix.weight for layer in decoder.layers for matrix in (layer.project, layer.output)]
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))
