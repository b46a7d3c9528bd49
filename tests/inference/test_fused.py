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


def new_cache(model: GPT, n_rows: int = 3) -> KVCache:
    return KVCache(model.config, n_rows, model.config.block_size, model.compute_dtype, torch.device("cpu"))


@torch.inference_mode()
def test_it_gives_the_models_logits(model: GPT) -> None:
    """For rows of different length, read in pieces together and then token by token."""
    texts = torch.randint(model.config.vocab_size, (3, 20))
    expected = model(texts)
    fused, cache = FusedGPT(model), new_cache(model)
    starts = [12, 7, 9]
    rows = [row for row in range(3) for _ in range(starts[row])]
    positions = [position for start in starts for position in range(start)]
    hidden_states = fused.step(texts[rows, positions], cache.context(rows, positions, 0))
    torch.testing.assert_close(fused.head(hidden_states), expected[rows, positions], atol=1e-5, rtol=1e-5)
    for step in range(8):
        positions = [start + step for start in starts]
        context = cache.context([0, 1, 2], positions, 3)
        logits = fused.head(fused.step(texts[[0, 1, 2], positions], context))
        torch.testing.assert_close(logits, expected[[0, 1, 2], positions], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_it_computes_in_the_models_precision(model: GPT) -> None:
    ids = torch.randint(model.config.vocab_size, (1, 8))
    exact = model(ids)[0]
    model.compute_dtype = torch.bfloat16
    fused, context = FusedGPT(model), new_cache(model).context([0] * 8, list(range(8)), 0)
    logits = fused.head(fused.step(ids[0], context))
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
