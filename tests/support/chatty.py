"""A tiny untrained model with a character tokenizer, for the training functions of the public package."""

import torch

from folio.model.config import GPTConfig
from folio.model.gpt import GPT
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.protocol import Tokenizer

PREFERENCES = [
    {"prompt": "a?", "chosen": "bad", "rejected": "cab"},
    {"prompt": "b?", "chosen": "bed", "rejected": "face"},
] * 16


def make_chatty(seed: int = 0, **sizes: float) -> tuple[GPT, Tokenizer]:
    """A model and a tokenizer that know a few letters."""
    tokenizer = CharTokenizer.train("abcdefgh ?")
    torch.manual_seed(seed)
    defaults = {"block_size": 32, "n_layer": 1, "n_head": 2, "n_embd": 16}
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, **{**defaults, **sizes}))  # type: ignore[arg-type]
    torch.nn.init.normal_(model.head.weight, std=0.1)
    return model, tokenizer
