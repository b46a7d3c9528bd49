"""Tiny models with random weights: none is 0 or 1, where mistakes could hide."""

from typing import Any

import torch

from folio.model.architectures import ARCHITECTURES
from folio.model.config import GPTConfig
from folio.model.gpt import GPT
from folio.model.score import ScoreModel
from folio.model.transformer import Transformer
from folio.tokenizer.char import CharTokenizer

TOKENIZER = CharTokenizer(tuple("abcdef "))
PAD, END = TOKENIZER.special_ids["<|pad|>"], TOKENIZER.special_ids["<|end|>"]


def config(**changes: Any) -> GPTConfig:
    sizes = {"vocab_size": TOKENIZER.vocab_size, "block_size": 32, "n_layer": 2, "n_head": 2, "n_kv_head": 1}
    return GPTConfig(**{**sizes, "n_embd": 16, "head_size": 8, "mlp_size": 24, **changes})


def random_gpt(seed: int = 0, **changes: Any) -> GPT:
    return _randomized(GPT(config(**changes)), seed)


def random_scorer(seed: int = 1, **changes: Any) -> ScoreModel:
    return _randomized(ScoreModel(config(**changes)), seed)


def silent_gpt() -> GPT:
    """A model that ends every text at once: it finds <|end|> far likelier than all else."""
    return _indifferent(torch.arange(TOKENIZER.vocab_size) == END)


def talkative_gpt(**changes: Any) -> GPT:
    """A model that writes every character equally often, and never ends a text."""
    return _indifferent(torch.arange(TOKENIZER.vocab_size) < len(TOKENIZER.characters), **changes)


def _indifferent(wanted: torch.Tensor, **changes: Any) -> GPT:
    """A model that finds the same tokens likely after every text."""
    model = random_gpt(**ARCHITECTURES["gpt2"].parts, n_kv_head=2, tied_embeddings=False, **changes).eval()
    with torch.no_grad():
        model.norm.weight.zero_()
        model.norm.bias.fill_(1.0)
        model.head.weight.copy_(torch.where(wanted, 0.0, -10.0)[:, None])
    return model


def _randomized(model: Any, seed: int) -> Any:
    assert isinstance(model, Transformer)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.7 + 0.3 * noise if parameter.ndim == 1 else 0.3 * noise)
    return model
