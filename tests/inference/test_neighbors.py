"""The nearest tokens in the embedding."""

import pytest
import torch

from folio.errors import UserError
from folio.inference.neighbors import nearest_tokens


def test_neighbors_are_those_of_a_loop(model):
    found = nearest_tokens(model, [9, 4, 9, 0])
    assert found.ids.tolist() == [9, 4, 0]
    weight = model.embedding.weight.detach()
    for i, nearest, cosines in zip(
        found.ids.tolist(), found.nearest.tolist(), found.similarities.tolist(), strict=True
    ):
        expected = {
            j: torch.cosine_similarity(weight[i], weight[j], dim=0).item() for j in range(61) if j != i
        }
        assert nearest == sorted(expected, key=expected.__getitem__, reverse=True)[:3]
        assert cosines == pytest.approx([expected[j] for j in nearest], abs=1e-5)


def test_the_same_direction_is_nearest_whatever_its_length(model):
    with torch.no_grad():
        model.embedding.weight[7] = 100 * model.embedding.weight[2]
    found = nearest_tokens(model, [2], n=1)
    assert found.nearest.tolist() == [[7]]
    assert found.similarities.item() == pytest.approx(1)


def test_more_neighbors_than_there_are(model):
    found = nearest_tokens(model, [2], n=100)
    assert sorted(found.nearest[0].tolist()) == [i for i in range(61) if i != 2]


def test_an_unknown_id(model):
    with pytest.raises(UserError, match="the ids range from 3 to 61"):
        nearest_tokens(model, [3, 61])
