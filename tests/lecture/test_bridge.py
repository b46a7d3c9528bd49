"""The production model computes what the rungs compute, given the same weights."""

import pytest
import torch
import torch.nn.functional as F

from folio.lecture.ladder import LADDER, LAPTOP
from folio.model.config import GPTConfig
from folio.model.gpt import GPT

V = 65
LECTURE_PARTS = {
    "norm": "layer_norm",
    "norm_eps": 1e-5,
    "position": "learned",
    "mlp": "gelu",
    "qk_norm": "none",
    "bias": "all",
}
GPT2 = {**LECTURE_PARTS, "tied_embeddings": True}
ROTARY = {**GPT2, "position": "rotary"}
RMS_NORM = {**ROTARY, "norm": "rms_norm", "qk_norm": "rms_norm", "norm_eps": torch.finfo(torch.float32).eps}
SWIGLU = {**RMS_NORM, "mlp": "swiglu", "bias": "none", "mlp_size": 8 * LAPTOP.n_embd // 3}
PARTS = {
    "scale_up": LECTURE_PARTS,
    "gelu_tying": GPT2,
    "rotary": ROTARY,
    "rms_norm": RMS_NORM,
    "swiglu": SWIGLU,
    "muon": SWIGLU,
}


def random_rung(name):
    """A rung with every weight random, so that nothing hides behind a one or a zero."""
    model = LADDER[name].build(V, LAPTOP).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


def production(name, rung):
    """A GPT with the rung's parts and weights."""
    parts = {"mlp_size": 4 * LAPTOP.n_embd, **PARTS[name]}
    config = GPTConfig(
        vocab_size=V,
        block_size=LAPTOP.block_size,
        n_layer=LAPTOP.n_layer,
        n_head=LAPTOP.n_head,
        n_kv_head=LAPTOP.n_head,
        n_embd=LAPTOP.n_embd,
        head_size=LAPTOP.n_embd // LAPTOP.n_head,
        **parts,
    )
    gpt = GPT(config).eval()
    used = set()

    @torch.no_grad()
    def copy(parameter, *theirs):
        parameter.copy_(torch.cat(theirs))
        used.update(map(id, theirs))

    def copy_layer(layer, *theirs):
        for kind in ("weight", "bias"):
            values = [value for each in theirs if (value := getattr(each, kind, None)) is not None]
            if values:
                copy(getattr(layer, kind), *values)

    copy_layer(gpt.embedding, getattr(rung.embed, "tokens", rung.embed))
    if hasattr(rung.embed, "positions"):
        copy_layer(gpt.positions.embedding, rung.embed.positions)
    *layers, norm = rung.body
    for block, attend, think in zip(gpt.blocks, layers[::2], layers[1::2], strict=True):
        attention_norm, (heads, output), _ = attend.parts
        copy_layer(block.attention_norm, attention_norm)
        for projection in ("query", "key", "value"):
            copy_layer(getattr(block.attention, projection), *(getattr(head, projection) for head in heads))
        copy_layer(block.attention.output, output)
        if config.qk_norm == "rms_norm":
            copy_layer(block.attention.query_norm, heads[0].adapt_query[0])
            copy_layer(block.attention.key_norm, heads[0].adapt_key[0])
        mlp_norm, mlp, _ = think.parts
        copy_layer(block.mlp_norm, mlp_norm)
        names = [each for each in ("gate", "up", "down") if hasattr(block.mlp, each)]
        theirs = [getattr(mlp, each) for each in names] if hasattr(mlp, "gate") else [mlp[0], mlp[2]]
        for each, layer in zip(names, theirs, strict=True):
            copy_layer(getattr(block.mlp, each), layer)
    copy_layer(gpt.norm, norm)
    if not config.tied_embeddings:
        rung.head.bias.data.zero_()  # GPT has none
        used.add(id(rung.head.bias))
        copy(gpt.head.weight, rung.head.weight)
    assert {id(parameter) for parameter in rung.parameters()} == used  # nothing was left behind
    return gpt


@pytest.mark.parametrize("name", PARTS)
def test_the_production_model_computes_the_same_function(name, monkeypatch):
    if name == "scale_up":  # the lecture has ReLU where GPT-2, and so GPT, has GELU: all else is the same
        monkeypatch.setattr(F, "gelu", lambda x, approximate: F.relu(x))
    rung = random_rung(name)
    gpt = production(name, rung)
    ids = torch.randint(V, (3, LAPTOP.block_size))
    torch.testing.assert_close(gpt(ids), rung(ids), rtol=1e-4, atol=1e-4)


def test_the_top_rung_has_the_parts_of_the_default_model():
    default, top = GPTConfig(vocab_size=V), GPTConfig(vocab_size=V, **SWIGLU)
    assert [
        part
        for part in ("norm", "position", "mlp", "qk_norm", "bias")
        if getattr(default, part) != getattr(top, part)
    ] == []
