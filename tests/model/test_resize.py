import copy

import pytest
import torch

from folio.model.resize import resize_vocab

N_KNOWN = 90
"""Of the 97 rows that the models of this folder have; the others are padding."""


@pytest.mark.parametrize("vocab_size", [95, 97, 102])
def test_old_rows_are_the_same_to_the_bit_and_new_ones_the_mean(model, vocab_size):
    before = copy.deepcopy(model.state_dict())
    larger = resize_vocab(model, N_KNOWN, vocab_size)
    assert larger.config.vocab_size == max(97, vocab_size)
    state = larger.state_dict()
    assert state.keys() == before.keys()
    for name, old in before.items():
        assert torch.equal(model.state_dict()[name], old), "the model itself stays as it is"
        if not name.startswith(("embedding.", "head.")):
            assert torch.equal(state[name], old)
            continue
        new = state[name]
        assert new.shape == (max(97, vocab_size), model.config.n_embd)
        assert torch.equal(new[:N_KNOWN], old[:N_KNOWN])
        assert torch.equal(new[vocab_size:97], old[vocab_size:])
        torch.testing.assert_close(
            new[N_KNOWN:vocab_size],
            old[:N_KNOWN].double().mean(0).float().expand(vocab_size - N_KNOWN, -1),
            rtol=1e-5,
            atol=1e-6,
        )
    assert (larger.head.weight is larger.embedding.weight) == model.config.tied_embeddings


def test_logits_of_known_tokens_do_not_change(model, ids):
    larger = resize_vocab(model, N_KNOWN, 102)
    ids = ids % N_KNOWN
    with torch.inference_mode():
        before, after = model(ids), larger(ids)
    torch.testing.assert_close(after[..., :N_KNOWN], before[..., :N_KNOWN], rtol=0, atol=1e-6)
    p = after[..., :102].softmax(-1)
    assert (p[..., N_KNOWN:] <= p[..., :N_KNOWN].mean(-1, keepdim=True) + 1e-7).all()


def test_new_rows_learn_each_its_own_and_no_random_number_is_drawn(model, ids):
    state = torch.random.get_rng_state()
    larger = resize_vocab(model, N_KNOWN, 102)
    assert torch.equal(torch.random.get_rng_state(), state)
    ids = ids.clone()
    ids[:, 3], ids[:, 9] = 100, 101
    larger(ids).logsumexp(-1).sum().backward()
    first, second = larger.embedding.weight.grad[100], larger.embedding.weight.grad[101]
    assert first.any()
    assert not torch.allclose(first, second)
