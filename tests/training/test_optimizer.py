"""Which optimizer moves which weights."""

from dataclasses import replace

import pytest

from folio.errors import UserError
from folio.model.architectures import ARCHITECTURES
from folio.model.config import GPTConfig
from folio.model.gpt import GPT
from folio.training.optimizer import OptimizerConfig, build_optimizers

SIZES = GPTConfig(
    vocab_size=13, block_size=8, n_layer=2, n_head=2, n_kv_head=2, n_embd=16, head_size=8, mlp_size=24
)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_every_parameter_has_one_optimizer(kind, architecture, tied):
    model = GPT(replace(SIZES, **ARCHITECTURES[architecture].parts, tied_embeddings=tied))
    config = OptimizerConfig(
        optimizer=kind,
        learning_rate=0.5,
        embedding_learning_rate=0.25,
        head_learning_rate=0.125,
        weight_decay=0.1,
    )
    optimizers = build_optimizers(model, config)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())

    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        is_matrix = name.startswith("blocks.") and parameter.ndim == 2
        is_table = name in ("embedding.weight", "positions.embedding.weight")
        assert rates[id(parameter)] == (0.5 if is_matrix else 0.25 if is_table else 0.125), name
        assert decays[id(parameter)] == (0.1 if is_matrix else 0.0), name
    assert optimizers[0].param_groups[0]["lr"] == 0.5, "what reports call the learning rate"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("embedding_learning_rate", -1.0),
        ("head_learning_rate", -0.1),
        ("weight_decay", -0.1),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("beta1", 1.0),
        ("beta2", -0.5),
        ("max_norm", -1.0),
        ("max_norm", float("nan")),
    ],
)
def test_what_no_optimizer_could_use_is_refused(field, value):
    with pytest.raises(UserError, match=field):
        OptimizerConfig(**{field: value})
