import pytest
from torch import nn

from folio.model.mode import evaluating


@pytest.mark.parametrize("was_training", [True, False])
def test_a_model_is_left_in_the_mode_it_was_in(was_training):
    model = nn.Sequential(nn.Dropout()).train(was_training)
    with evaluating(model):
        assert not model[0].training
    assert model[0].training is was_training
    with pytest.raises(RuntimeError), evaluating(model):
        raise RuntimeError
    assert model[0].training is was_training
