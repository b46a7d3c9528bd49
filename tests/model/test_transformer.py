"""The body of a model: what it makes of ids, and what it weighs."""

import torch

from folio.model.gpt import GPT
from folio.model.transformer import Transformer


@torch.no_grad()
def test_a_head_on_its_hidden_states_is_the_model(model, ids):
    hidden = model.hidden_states(ids)
    assert isinstance(model, Transformer)
    assert hidden.shape == (*ids.shape, model.config.n_embd)
    torch.testing.assert_close(model.head(hidden), model(ids))


def test_shared_weights_are_counted_once(config):
    model = GPT(config)
    assert model.n_parameters == sum(value.numel() for value in model.parameters())
    body, head = Transformer(config), model.n_parameters - Transformer(config).n_parameters
    assert len(body.blocks) == config.n_layer
    assert head == (0 if config.tied_embeddings else config.vocab_size * config.n_embd)
